"""A real mail server for tests (aiosmtpd): STARTTLS or TLS, a login, and what it got as lines of JSON.

Arguments: folder with server.pem and server.key, file with the password of "ana", messages to refuse at first.
Prints its two ports first. Ends with its standard input.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

certificates, password, refusals = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Handler:
    def __init__(self):
        self.refusals = refusals

    async def handle_DATA(self, server, session, envelope):
        encrypted = server.transport.get_extra_info("ssl_object") is not None
        seen = {
            "to": envelope.rcpt_tos,
            "from": envelope.mail_from,
            "encrypted": encrypted,
            "user": session.auth_data.decode() if session.auth_data else None,
            "content": envelope.content.decode("utf-8", "replace"),
            "refused": self.refusals > 0,
        }
        print(json.dumps(seen), flush=True)
        if self.refusals > 0:
            self.refusals -= 1
            return "451 come again"
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    with open(password, "rb") as file:
        good = data.login == b"ana" and data.password == file.read().strip()
    return AuthResult(success=good, handled=False, auth_data=data.login)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{certificates}/server.pem", f"{certificates}/server.key")
    loop, handler = asyncio.get_running_loop(), Handler()

    def starttls():
        return SMTP(handler, hostname="localhost", tls_context=context, require_starttls=True,
                    authenticator=authenticate, auth_required=True, loop=loop)

    def implicit():
        return SMTP(handler, hostname="localhost", authenticator=authenticate, auth_required=True,
                    auth_require_tls=False, loop=loop)

    plain = await loop.create_server(starttls, "127.0.0.1", 0)
    encrypted = await loop.create_server(implicit, "127.0.0.1", 0, ssl=context)
    print(plain.sockets[0].getsockname()[1], encrypted.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
