"""MLflow's users, set in its own database before a server is up."""

from __future__ import annotations

from collections.abc import Mapping


def admit(database: str, people: Mapping[str, str], *, admin: bool = False) -> None:
    """Let people in by these passwords from now on; tables are made where there are none.

    Parameters
    ----------
    database
        Address of MLflow's database of users.
    people
        Passwords by name.
    admin
        Whether they write.
    """
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(database)  # type: ignore[no-untyped-call]
    for name, password in people.items():
        if store.has_user(name):
            store.update_user(name, password, admin)
        else:
            store.create_user(name, password, is_admin=admin)
