//! What only the databases show: views, roles, transactions, migrations.
