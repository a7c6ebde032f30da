"""Airflow's logins: its simple auth manager, with a role that answers requests and no more."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

#: The role of who approves: reads everything a viewer reads, and answers Required Actions.
ANSWERS = "user"


class LoginManager(SimpleAuthManager):
    """The simple auth manager, in which the role `user` may not trigger, unpause, clear or mark.

    Upstream that role may do all of that to any DAG, so who approves could start what he approves.
    """

    def is_authorized_dag(
        self,
        *,
        method: ResourceMethod,
        user: SimpleAuthManagerUser,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        """Whether `user` may do `method` to a DAG or to that part of it."""
        answers = access_entity is DagAccessEntity.HITL_DETAIL
        if (user.role or "").lower() == ANSWERS and method != "GET" and not answers:
            return False
        allowed: bool = super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )
        return allowed
