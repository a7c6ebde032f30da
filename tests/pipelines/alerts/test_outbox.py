"""Alerts: grouping, quiet hours, failures, approvals, and no secret in any of them."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from crossimpact.errors import UsageError
from pipelines.alerts import config, outbox
from pipelines.alerts.message import Message
from pipelines.alerts.outbox import Wanted
from pipelines.alerts.redaction import redacted
from pipelines.store.settings import Settings

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def command(name: str, folder: Path, **more: object) -> str:
    lines = [f'[[channel]]\nname = "{name}"\nkind = "command"']
    lines.append(f'command = ["sh", "-c", "cat >> {folder}/{name}; echo ---- >> {folder}/{name}"]')
    lines += [f"{key} = {json.dumps(value)}" for key, value in more.items()]
    return "\n".join(lines) + "\n"


def home(folder: Path, text: str) -> Settings:
    settings = Settings(folder / "home")
    settings.home.mkdir()
    (settings.home / config.FILE).write_text(text)
    return settings


def heard(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().split("----\n")[:-1] if path.exists() else []


def told(title: str, minutes: float = 0, severity: str = "warning", kind: str = "gate") -> Message:
    return Message(kind, severity, title, "text", "", NOON + timedelta(minutes=minutes))


def test_messages_of_a_kind_leave_together_and_once(tmp_path: Path) -> None:
    settings = home(tmp_path, command("desk", tmp_path))
    for k in (0, 1, 1):
        outbox.add(settings, told(f"gate {k}", k))
    assert outbox.send(settings, NOON + timedelta(minutes=5)).sent == 0
    done = outbox.send(settings, NOON + timedelta(minutes=11))
    assert (done.sent, done.waiting) == (1, 0)
    (message,) = heard(tmp_path, "desk")
    assert message.startswith("[warning] 2 alerts of kind gate") and "gate 0" in message
    assert outbox.send(settings, NOON + timedelta(hours=1)).sent == 0


def test_quiet_hours_keep_what_is_not_critical(tmp_path: Path) -> None:
    quiet = '[quiet]\nbegin = "21:00"\nend = "06:00"\n'
    settings = home(tmp_path, command("desk", tmp_path) + quiet)
    outbox.add(settings, told("later"))
    outbox.add(settings, told("now", severity="critical", kind="demotion"))
    night = NOON.replace(hour=23)
    assert outbox.send(settings, night).waiting == 1
    assert [row.splitlines()[0] for row in heard(tmp_path, "desk")] == ["[critical] now"]
    assert outbox.send(settings, night + timedelta(hours=7)).waiting == 0


def test_a_channel_that_fails_gets_it_again_and_another_one_not_twice(tmp_path: Path) -> None:
    broken = '[[channel]]\nname = "away"\nkind = "command"\ncommand = ["false"]\n'
    settings = home(tmp_path, command("desk", tmp_path) + broken)
    outbox.add(settings, told("one", severity="critical"))
    first = outbox.send(settings, NOON)
    assert first.waiting == 1 and "channel away did not take an alert" in first.failed[0]
    (settings.home / config.FILE).write_text(
        command("desk", tmp_path) + broken.replace('["false"]', '["true"]')
    )
    assert outbox.send(settings, NOON).waiting == 0
    assert len(heard(tmp_path, "desk")) == 1


def test_an_approval_reaches_its_people_again_and_then_the_deputy(tmp_path: Path) -> None:
    text = command("people", tmp_path, kinds=["stage"]) + command("risk", tmp_path, kinds=["stage"])
    text += '[approval]\npeople = "people"\ndeputy = "risk"\n'
    settings = home(tmp_path, text)
    outbox.want(
        settings, Wanted("r1", "Make r1 champion?", "12 gates pass", "reports/r1.html", NOON)
    )
    titles = []
    for hours in (0, 3, 5, 6, 25, 26):
        outbox.send(settings, NOON + timedelta(hours=hours))
        titles.append((len(heard(tmp_path, "people")), len(heard(tmp_path, "risk"))))
    assert titles == [(1, 0), (1, 0), (2, 0), (2, 0), (2, 1), (2, 1)]
    assert "reports/r1.html" in heard(tmp_path, "people")[1]
    assert heard(tmp_path, "risk")[0].startswith("[warning] For the deputy: Make r1 champion?")
    outbox.want(settings, Wanted("r2", "Make r2 champion?", "", "", NOON))
    outbox.answered(settings, "r2")
    outbox.send(settings, NOON + timedelta(hours=30))
    assert not any("Reminder: Make r2" in row for row in heard(tmp_path, "people"))


def test_no_secret_leaves_and_an_address_stays_in_its_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-hunter2")
    settings = home(tmp_path, command("desk", tmp_path))
    leak = "at https://ann:pa55word@host/x with hunter2-hunter2, Bearer abc.def, token=xyz123"
    outbox.add(settings, Message("failure", "critical", "a task failed", leak, "", NOON))
    outbox.send(settings, NOON)
    (message,) = heard(tmp_path, "desk")
    assert not any(word in message for word in ("pa55word", "hunter2", "abc.def", "xyz123"))
    assert redacted("a plain text") == "a plain text"
    away = '[[channel]]\nname = "hook"\nkind = "webhook"\nurl_file = "%s"\n' % (tmp_path / "url")
    (tmp_path / "url").write_text("https://127.0.0.1:1/s3cr3t-path")
    (settings.home / config.FILE).write_text(away)
    outbox.add(settings, told("x", severity="critical"))
    assert "s3cr3t" not in str(outbox.send(settings, NOON).failed)


def test_a_webhook_is_posted_the_message_as_json(tmp_path: Path) -> None:
    got: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "url").write_text(f"http://127.0.0.1:{server.server_port}/hook")
    text = '[[channel]]\nname = "hook"\nkind = "webhook"\nurl_file = "%s"\n' % (tmp_path / "url")
    settings = home(tmp_path, text + "template = '$title, $severity'\n")
    outbox.add(settings, told("slice to shadow", severity="critical", kind="demotion"))
    assert outbox.send(settings, NOON).sent == 1
    server.shutdown()
    for host in ("127.0.0.1.desk.example", "localhost.desk.example", "user@desk.example"):
        (tmp_path / "url").write_text(f"http://{host}/hook")  # in plain text, elsewhere
        outbox.add(settings, told(host, severity="critical"))
        sent = outbox.send(settings, NOON)
        assert sent.sent == 0 and "ValueError" in sent.failed[0]
    assert got[0]["text"] == "slice to shadow, critical" and got[0]["kind"] == "demotion"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[channel]]\nname = "a"\nkind = "webhook"\n', "a webhook has a url_file"),
        ('[[channel]]\nname = "a"\nkind = "pager"\nurl_file = "x"\n', "kind = 'pager'"),
        (
            '[[channel]]\nname = "a"\nkind = "command"\ncommand = ["x"]\ntemplate = "$nil"\n',
            "template knows no 'nil'",
        ),
        ('[approval]\npeople = "a"\ndeputy = "b"\n', "channels that are not there: a, b"),
        ("loud = true\n", "loud = True: unknown key"),
        ("[quiet", "write it as TOML"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, told: str) -> None:
    settings = home(tmp_path, text)
    with pytest.raises(UsageError, match="alerts") as error:
        config.load(settings.home)
    assert told in str(error.value)


def test_without_the_file_nobody_is_told_and_messages_wait(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    outbox.add(settings, told("one"))
    assert outbox.send(settings, NOON + timedelta(days=1)) == outbox.Sent(0, 1, ())
