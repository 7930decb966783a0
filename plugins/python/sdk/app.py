"""What componentize-py makes a component of: the author's node.py and the handler of probity.py."""

import node  # noqa: F401 - its nodes enter themselves
from probity import Handler  # noqa: F401
