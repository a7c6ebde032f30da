"""Services as processes: what each sees and may, who starts it again, and that nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossimpact.errors import CrossImpactError
from ops.airflow_api import wait_for
from ops.stack import compose, namespaces
from ops.stack.form import bring_up
from ops.stack.process_form import ProcessForm

FILE = """
x-rest: &rest
  image: test:1
  build: {context: ., target: base}
  read_only: true
  restart: unless-stopped
  tmpfs: ["/tmp:mode=1777,size=1m"]
x-check: &check {interval: 1s, timeout: 5s, retries: 1, start_period: 1s, start_interval: 1s}
services:
  late:
    <<: *rest
    user: "10002:10002"
    command: [sh, -c, "echo began; sleep 1000"]
    depends_on: {first: {condition: service_completed_successfully}}
    volumes: ["shared:/srv/shared:ro", "own:/srv/own"]
    environment: {SECRET: "${SECRET:?x}"}
    healthcheck: {<<: *check, test: [CMD-SHELL, "test -d /srv/own"]}
  first:
    <<: *rest
    restart: "no"
    user: "10001:10001"
    command: [sh, -c, "touch /srv/shared/made"]
    volumes: ["shared:/srv/shared"]
  dying:
    <<: *rest
    user: "10003:10003"
    command: [sh, -c, "echo no such database; exit 3"]
    healthcheck: {<<: *check, test: [CMD, "false"]}
"""


def able() -> bool:
    try:
        namespaces.refuse_without()
    except CrossImpactError:
        return False
    return True


pytestmark = pytest.mark.skipif(not able(), reason="takes root and namespaces")


@pytest.fixture
def form(tmp_path: Path) -> Iterator[ProcessForm]:
    file = tmp_path / "compose.yml"
    file.write_text(FILE)
    made = ProcessForm(compose.services({"SECRET": "s3cret"}, file), tmp_path / "stack")
    yield made
    made.stop()
    assert not [p for name in made.services for p in made.members(name)]


def test_a_service_sees_its_own_files_as_its_own_user_and_writes_only_there(form) -> None:
    asked = (
        "id -u; hostname; ls /srv; touch /srv/own/a /tmp/b && echo wrote; for p in /c /srv/d "
        "/srv/app/e /srv/shared/f; do touch $p 2>/dev/null && echo $p; done; echo refused; "
        "grep CapEff /proc/self/status"
    )
    told = form.execute("late", ["sh", "-c", asked]).out.decode().split()
    shown = [word for word in told if word not in (".python",)]
    assert shown == [
        "10002",
        "late",
        "app",
        "own",
        "shared",
        "wrote",
        "refused",
        "CapEff:",
        "0" * 16,
    ]
    assert sorted(path.name for path in form.volume("own").iterdir()) == ["a"]


def test_a_service_gets_the_files_environment_and_nothing_of_ours(form, monkeypatch) -> None:
    monkeypatch.setenv("OURS", "1")
    told = form.execute("late", ["env"]).out.decode()
    assert "SECRET=s3cret\n" in told and "OURS" not in told


def test_services_start_in_order_are_well_by_their_own_check_and_come_back(form) -> None:
    assert set(bring_up(form, ("late", "first"), 60)) == {"late", "first"}
    assert (form.volume("shared") / "made").exists()
    before = {p.pid for p in form.members("late")}
    assert form.kill("late") >= 1
    wait_for(lambda: form.restarts["late"] and form.running("late"), 60)
    assert form.restarts["late"] == 1
    assert not before & {p.pid for p in form.members("late")}
    form.kill("late", stay=True)
    assert not form.running("late")


def test_one_that_keeps_dying_is_named_with_its_last_lines(form) -> None:
    with pytest.raises(CrossImpactError, match=r"dying keeps dying\n(.*\n)*.*no such database"):
        bring_up(form, ("dying",), 120)


def test_a_first_step_that_fails_stops_the_start(form) -> None:
    form.volume("shared").chmod(0o500)
    with pytest.raises(CrossImpactError, match=r"first failed with 1(.*\n)*.*Permission denied"):
        bring_up(form, ("late", "first"), 60)


def test_who_is_not_root_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CrossImpactError, match="run it with sudo, or rehearse with containers"):
        namespaces.refuse_without()
