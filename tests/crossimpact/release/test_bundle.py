"""Release bundles: the same numbers come back, anything else is refused."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ModelError, StaleModel, UsageError
from crossimpact.kernel.decay import Decay, DecayErrors
from crossimpact.ladder import Rung
from crossimpact.model import ImpactModel, canonical_json
from crossimpact.path_manipulation import path_certificate
from crossimpact.release import admissible, bundle, content, release_files
from crossimpact.release.bundle import Release
from crossimpact.release.content import Guardrail, Hold, Policy, Window
from tests.releases import FULL, POV, release_of

FIXED = Policy("fixed_pov", "no model", POV)
NUMBER = st.floats(-1e6, 1e6)
POSITIVE = st.floats(1e-3, 1e12)

LOWER = ("sector_block", "self_only")
LEVELS = st.lists(POSITIVE, min_size=2, max_size=2)


@st.composite
def models(draw: st.DrawFn, regime: str) -> ImpactModel:
    n = draw(st.integers(1, 4))
    row = st.lists(NUMBER, min_size=n, max_size=n)
    gamma = np.array(draw(st.lists(row, min_size=n, max_size=n)))
    np.fill_diagonal(gamma, 0.0)
    error = np.where(gamma != 0, draw(st.one_of(POSITIVE, st.just(np.nan))), np.nan)
    return ImpactModel(
        symbols=tuple(f"S{i}" for i in range(n)),
        sectors=("T",) * n,
        adv=np.array(draw(st.lists(POSITIVE, min_size=n, max_size=n))),
        regime=regime,
        alpha=np.array(draw(row)),
        beta=np.abs(draw(row)),
        gamma=gamma,
        gamma_se=error,
        provenance={"seed": draw(st.integers())},
    )


@st.composite
def releases(draw: st.DrawFn) -> Release:
    fitted = draw(st.sets(st.sampled_from(["normal", "stressed"])))
    lower = {
        regime: {rung: draw(models(regime)) for rung in draw(st.sets(st.sampled_from(LOWER)))}
        for regime in fitted
    }
    shipped = {regime: draw(models(regime)) for regime in fitted}
    for regime, rungs in lower.items():
        names = {"symbols": shipped[regime].symbols, "sectors": shipped[regime].sectors}
        fits = {rung: model for rung, model in rungs.items() if model.n == shipped[regime].n}
        lower[regime] = {rung: replace(model, **names) for rung, model in fits.items()}
    return Release(
        as_of=str(draw(st.dates())),
        window=Window("2026-01-01", "2026-01-31", 20),
        flow="own",
        bucket_s=300,
        contract_version="1",
        code_version="0.1.0",
        data_digest="d" * 64,
        models=shipped,
        lower=lower,
        guardrails={regime: {"q_adv": Guardrail(*sorted(draw(LEVELS)))} for regime in fitted},
        fallback={"unknown": FIXED, "normal": FIXED, "stressed": FIXED}
        | dict.fromkeys(fitted, FULL),
        report={"text": draw(st.text()), "number": draw(st.floats()), "n": draw(st.integers())},
    )


@pytest.fixture
def release() -> Release:
    model = ImpactModel(
        symbols=("A", "B"),
        sectors=("T", "T"),
        adv=np.array([1e6, 2e6]),
        regime="normal",
        alpha=np.array([1.0, 2.0]),
        beta=np.array([30.0, 40.0]),
        gamma=np.array([[0.0, 5.0], [2.5, 0.0]]),
    )
    fallback = {"normal": FULL, "stressed": FIXED, "unknown": FIXED}
    report = {"contract": {"verdict": "ok"}}
    return release_of(model, "2026-01-31", fallback=fallback, report=report)


@given(release=releases())
@settings(max_examples=40, deadline=None)
def test_round_trip_keeps_every_number(release: Release) -> None:
    with tempfile.TemporaryDirectory() as folder:
        digest = release_files.write(release, Path(folder) / "r")
        back = release_files.read(Path(folder) / "r", digest)
    assert back == release
    assert back.files == release.files
    for regime, model in release.models.items():
        for rung, lower in {"": model, **release.lower.get(regime, {})}.items():
            found = back.lower[regime][rung] if rung else back.models[regime]
            for name in ("adv", "alpha", "beta", "gamma", "gamma_se"):
                np.testing.assert_array_equal(getattr(found, name), getattr(lower, name))
    assert back.guardrails == release.guardrails


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    release = data.draw(releases())
    with tempfile.TemporaryDirectory() as folder:
        digest = release_files.write(release, Path(folder) / "r")
        path = data.draw(st.sampled_from(sorted((Path(folder) / "r").iterdir())))
        content = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(StaleModel) as refused:
            release_files.read(Path(folder) / "r", digest)
        assert refused.value.exit_code == 5
        if path.name != bundle.MANIFEST:  # without the digest the files still guard each other
            with pytest.raises(StaleModel, match=path.name):
                release_files.read(Path(folder) / "r")


def test_the_digest_is_that_of_the_manifest_on_disk(release: Release, tmp_path: Path) -> None:
    digest = release_files.write(release, tmp_path / "r")
    assert digest == bundle.sha256((tmp_path / "r" / "manifest.json").read_bytes())
    assert release.id == digest[:12]
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "fallback.json",
        "gamma-normal-full.npy",
        "guardrails.json",
        "manifest.json",
        "model-normal-full.json",
        "release.json",
    ]


def test_writing_again_replaces_and_leaves_nothing_behind(release: Release, tmp_path: Path) -> None:
    release_files.write(release, tmp_path / "r")
    newer = replace(release, as_of="2026-02-28")
    assert release_files.write(newer, tmp_path / "r") != release.digest
    assert release_files.read(tmp_path / "r") == newer
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_folder_of_something_else_is_not_overwritten(release: Release, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no release"):
        release_files.write(release, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def _link(folder: Path) -> None:
    target = folder.parent / "elsewhere.json"
    (folder / "fallback.json").rename(target)
    (folder / "fallback.json").symlink_to(target)


def _manifest(folder: Path, **changes: object) -> None:
    data = json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_bytes(canonical_json(data | changes))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "run.py").write_text("1"), "run.py"),
        (lambda folder: (folder / "sub").mkdir(), "sub"),
        (_link, "fallback.json, not a plain file"),
        (
            lambda folder: (folder / "model-normal-full.json").unlink(),
            "lacks model-normal-full.json",
        ),
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "unreadable manifest.json"),
        (lambda folder: _manifest(folder, schema_version=1), "schema version 1, expected 2 to 4"),
        (lambda folder: _manifest(folder, files={}), "unexpected fallback.json"),
    ],
)
def test_a_spoilt_folder_is_refused(release: Release, tmp_path: Path, spoil, told: str) -> None:
    release_files.write(release, tmp_path / "r")
    spoil(tmp_path / "r")
    with pytest.raises(StaleModel, match=told):
        release_files.read(tmp_path / "r")


def test_a_wrong_digest_is_told_with_the_right_one(release: Release, tmp_path: Path) -> None:
    release_files.write(release, tmp_path / "r")
    with pytest.raises(StaleModel, match=f"{release.digest}, expected {'0' * 64}"):
        release_files.read(tmp_path / "r", "0" * 64)


def _forge(folder: Path, name: str, change) -> None:
    """Edit a file and make the manifest agree, as someone with write access would."""
    document = json.loads((folder / name).read_bytes())
    change(document)
    (folder / name).write_bytes(json.dumps(document, sort_keys=True).encode())
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    _manifest(folder, files=files | {name: bundle.sha256((folder / name).read_bytes())})


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("model-normal-full.json", lambda m: m["adv"].__setitem__(0, -1.0), "adv of A"),
        ("model-normal-full.json", lambda m: m["adv"].__setitem__(0, float("nan")), "not finite"),
        ("model-normal-full.json", lambda m: m["adv"].__setitem__(0, "x"), "does not parse"),
        ("model-normal-full.json", lambda m: m.__setitem__("regime", "stressed"), "filed under"),
        ("model-normal-full.json", lambda m: m.__setitem__("code", "x"), "canonical"),
        ("release.json", lambda r: r.__setitem__("as_of", "soon"), "not a date"),
        ("release.json", lambda r: r.__setitem__("extra", 1), "does not parse"),
        ("fallback.json", lambda f: f["normal"]["max_pov"].update(full=2.0), "full is 2.0"),
        ("fallback.json", lambda f: f["stressed"].__setitem__("rung", "full"), "without a model"),
    ],
)
def test_forged_content_is_refused_even_when_the_hashes_agree(
    release: Release, tmp_path: Path, name: str, change, told: str
) -> None:
    release_files.write(release, tmp_path / "r")
    _forge(tmp_path / "r", name, change)
    with pytest.raises(StaleModel, match=told):
        release_files.read(tmp_path / "r")


def test_the_fallback_says_who_answers(release: Release) -> None:
    assert release.model_for("normal") == (release.models["normal"], "full", "fitted", 0.15)
    assert release.model_for("stressed") == (None, "fixed_pov", "no model", 0.05)
    model, rung, reason, _ = release.model_for("halted")
    assert (model, rung) == (None, "fixed_pov")
    assert "'halted' is not in the release" in reason
    policy = release.fallback | {"normal": replace(FULL, rung="self_only")}
    alone, rung, *_ = replace(release, fallback=policy).model_for("normal")
    assert rung == "self_only"
    assert alone is not None
    assert alone.edges == 0
    np.testing.assert_array_equal(alone.beta, release.models["normal"].beta)


def _held(release: Release, rung: str) -> Release:
    return replace(release, held={"normal": Hold(rung, "demoted: it promised more")})


@pytest.mark.parametrize("rung", ["sector_block", "self_only", "fixed_pov"])
def test_a_held_regime_is_answered_by_the_rung_it_is_held_to(release: Release, rung: str) -> None:
    block = replace(release.models["normal"], gamma=np.array([[0.0, 1.0], [0.5, 0.0]]))
    alone = replace(block, gamma=np.zeros((2, 2)), beta=np.array([31.0, 41.0]))
    ladder = {"sector_block": block, "self_only": alone}
    held = _held(replace(release, lower={"normal": ladder}), rung)
    answer = held.model_for("normal")
    assert answer == (ladder.get(rung), rung, "demoted: it promised more", POV[rung])
    assert held.digest == replace(release, lower={"normal": ladder}).digest


@pytest.mark.parametrize("rung", ["sector_block", "self_only", "fixed_pov"])
def test_a_guardrail_gets_no_more_than_its_rung_and_never_more_than_is_held(
    release: Release, rung: Rung
) -> None:
    block = replace(release.models["normal"], gamma=np.array([[0.0, 1.0], [0.5, 0.0]]))
    whole = replace(release, lower={"normal": {"sector_block": block}})
    answer = whole.model_for("normal", rung)
    assert (answer.rung, answer.max_pov) == (rung, POV[rung])
    assert answer.reason == f"the guardrail allows {rung}"
    assert whole.model_for("normal", "full") == whole.model_for("normal")
    assert _held(whole, "fixed_pov").model_for("normal", rung).rung == "fixed_pov"


def test_a_rung_without_numbers_is_passed_over_and_a_higher_hold_does_nothing(
    release: Release,
) -> None:
    answer = _held(release, "sector_block").model_for("normal")
    assert answer.rung == "self_only"
    assert answer.model is not None and answer.model.edges == 0
    assert _held(release, "full").model_for("normal") == release.model_for("normal")


def test_a_release_older_than_a_rung_loads_and_a_newer_one_says_its_share(
    release: Release, tmp_path: Path
) -> None:
    """`one_factor` joined the ladder later; an older release may lack its share of volume."""
    assert "one_factor" not in POV
    release_files.write(release, tmp_path / "old")
    assert release_files.read(tmp_path / "old") == release
    assert _held(release, "one_factor").model_for("normal").rung == "self_only"
    factor = replace(release.models["normal"], gamma=np.array([[0.0, 1.0], [0.5, 0.0]]))
    with pytest.raises(ModelError, match="max_pov"):
        replace(release, lower={"normal": {"one_factor": factor}})
    policy = replace(FULL, max_pov=POV | {"one_factor": 0.11})
    newer = replace(
        release,
        fallback={**release.fallback, "normal": policy},
        lower={"normal": {"one_factor": factor}},
    )
    release_files.write(newer, tmp_path / "new")
    assert release_files.read(tmp_path / "new") == newer
    answer = _held(newer, "one_factor").model_for("normal")
    assert (answer.rung, answer.max_pov) == ("one_factor", 0.11)
    assert answer.model is not None and (answer.model.gamma == factor.gamma).all()


def test_numbers_json_cannot_hold_are_kept_as_text(release: Release) -> None:
    odd = {"a": np.float64("inf"), "b": [float("nan")], "c": (np.int64(3), np.bool_(True))}
    assert replace(release, report=odd).report == {"a": "inf", "b": ["nan"], "c": [3, True]}


@pytest.mark.parametrize(
    "change",
    [
        {"fallback": {"normal": FULL}},
        {"fallback": {"unknown": FIXED}},
        {"fallback": {"normal": FULL, "unknown": FIXED, "../x": FIXED}},
        {"as_of": "31/01/2026"},
        {"guardrails": {"stressed": {"q_adv": Guardrail(1.0, 2.0)}}},
    ],
)
def test_what_does_not_fit_together_is_no_release(release: Release, change) -> None:
    with pytest.raises(ModelError):
        replace(release, **change)


#: Of the release below, by the code that kept its parts as dictionaries.
DIGEST_BEFORE = "ea94835878116838cd6a551eb37fbb5a7e266fd1f9be109cdff39ef98690a70d"
WINDOW = {"first": "2026-01-01", "last": "2026-01-31", "dates": 20}
FIXED_TERMS = FIXED.to_dict()


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        (Policy, FIXED_TERMS | {"rung": "hope"}, "here: rung 'hope' is none of full, sector_block"),
        (Policy, FIXED_TERMS | {"reason": 3}, "here: the reason is 3, must be a text"),
        (Policy, FIXED_TERMS | {"max_pov": {}}, "here: max_pov is {}, needs fixed_pov"),
        (Policy, FIXED_TERMS | {"max_pov": {"full": 0.1}}, "needs fixed_pov"),
        (Policy, FIXED_TERMS | {"max_pov": POV | {"best": 0.1}}, "max_pov is .*best"),
        (
            Policy,
            FIXED_TERMS | {"max_pov": POV | {"full": float("nan")}},
            "full is nan, must be",
        ),
        (Policy, FIXED_TERMS | {"max_pov": POV | {"full": True}}, "full is True, must be in"),
        (
            Policy,
            FIXED_TERMS | {"max_pov": POV | {"full": 1.01}},
            "full is 1.01, must be",
        ),
        (
            Policy,
            {"rung": "fixed_pov"},
            r"fields \['rung'\], not max_pov, reason, rung",
        ),
        (Policy, [FIXED_TERMS], "here has the fields"),
        (Guardrail, {"amber": 2.0, "red": 1.0}, "here: amber 2.0 and red 1.0 must be finite"),
        (Guardrail, {"amber": 1.0, "red": "inf"}, "red inf must be finite"),
        (Guardrail, {"amber": -1.0, "red": 1.0}, "amber -1.0 and red 1.0 must be"),
        (Guardrail, {"amber": 1.0, "red": 2.0, "percentiles": [1.0, 2.0]}, "must be 22 finite"),
        (Guardrail, {"amber": 1.0, "red": 2.0, "percentiles": [2.0] * 21 + [1.0]}, "in order"),
        (Guardrail, {"amber": 1.0}, r"here has the fields \['amber'\], not amber, red"),
        (Window, WINDOW | {"last": "2025-12-31"}, "20 dates from 2026-01-01 to 2025-12-31 are no"),
        (Window, WINDOW | {"dates": 0}, "0 dates from"),
        (Window, WINDOW | {"first": "January"}, "'January' to '2026-01-31' are not dates"),
        (Window, WINDOW | {"days": 31}, "days.*, not dates, first, last"),
        (Hold, {"rung": "none", "reason": "drift"}, "held to 'none'"),
        (Hold, {"rung": "full", "reason": None}, "for None, not to a rung with a reason"),
    ],
)
def test_read_refuses_what_a_release_cannot_say_by_its_name(kind, data, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        content.read(kind, data, "here")


TABLE = Guardrail(1, 2.5, tuple(float(k) for k in range(22)))


def test_percentiles_are_a_schema_of_their_own(release: Release) -> None:
    """An older consumer says that it is too new, and not that a field is unknown."""
    told = replace(release, guardrails={"normal": {"ibb": TABLE}})
    assert json.loads(told.manifest)["schema_version"] == 4
    assert json.loads(release.manifest)["schema_version"] < 4
    back = bundle.parse(told.files)
    assert back.digest == told.digest and back.guardrails["normal"]["ibb"] == TABLE


@pytest.mark.parametrize(
    "made", [FULL, TABLE, Guardrail(1, 2.5), Window(**WINDOW), Hold("full", "why")]
)
def test_read_is_the_inverse_of_to_dict_through_json(made) -> None:
    assert content.read(type(made), json.loads(json.dumps(made.to_dict())), "here") == made


def test_a_release_of_the_version_before_keeps_its_bytes_and_digest(release: Release) -> None:
    """The files as they were written when window, policies and levels were plain dictionaries."""
    written = {
        "fallback.json": b'{"normal":{"max_pov":{"fixed_pov":0.05,"full":0.15,"sector_block":0.12,'
        b'"self_only":0.1},"reason":"fitted","rung":"full"},"stressed":{"max_pov":{"fixed_pov":'
        b'0.05,"full":0.15,"sector_block":0.12,"self_only":0.1},"reason":"no model",'
        b'"rung":"fixed_pov"},'
        b'"unknown":{"max_pov":{"fixed_pov":0.05,"full":0.15,"sector_block":0.12,"self_only":0.1},'
        b'"reason":"no model","rung":"fixed_pov"}}',
        "guardrails.json": b'{"normal":{"q_adv":{"amber":1,"red":2.5}}}',
        "release.json": b'{"as_of":"2026-01-31","bucket_s":300,"code_version":"0.1.0",'
        b'"contract_version":"1","data_digest":"' + b"d" * 64 + b'","flow":"own","report":'
        b'{"contract":{"verdict":"ok"}},"window":{"dates":20,"first":"2026-01-01",'
        b'"last":"2026-01-31"}}',
    }
    guarded = replace(release, guardrails={"normal": {"q_adv": Guardrail(1, 2.5)}})
    assert {name: guarded.files[name].strip() for name in written} == written
    assert guarded.digest == DIGEST_BEFORE


def test_a_lower_rung_is_below_what_ships_and_knows_the_same_names(release: Release) -> None:
    model = release.models["normal"]
    other = replace(model, symbols=("A", "C"))
    for lower in ({"full": model}, {"fixed_pov": model}, {"sector_block": other}):
        with pytest.raises(ModelError, match="lower rung"):
            replace(release, lower={"normal": lower})
    with pytest.raises(ModelError, match="lower rung"):
        replace(release, lower={"stressed": {"self_only": model}})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: np.append(table, table[:1]),  # a pair named twice
        lambda table: table[::-1],  # in another order
        lambda table: table[["i", "j", "bps"]],
        lambda table: np.array([object()]),  # needs a pickle
    ],
)
def test_another_table_of_couplings_is_refused_even_when_the_hashes_agree(
    release: Release, tmp_path: Path, spoil
) -> None:
    release_files.write(release, tmp_path / "r")
    path = tmp_path / "r" / "gamma-normal-full.npy"
    np.save(path, spoil(np.load(path)), allow_pickle=True)
    files = json.loads((tmp_path / "r" / "manifest.json").read_bytes())["files"]
    _manifest(tmp_path / "r", files=files | {path.name: bundle.sha256(path.read_bytes())})
    with pytest.raises(StaleModel):
        release_files.read(tmp_path / "r")


KERNEL = Decay.from_half_life(
    30.0, 0.3, scale_self=1.2, scale_cross=1.4, bucket_min=5.0,
    errors=DecayErrors(half_life_lo=25.0, half_life_hi=40.0, scale_self_se=0.05),
)  # fmt: skip


@pytest.fixture
def with_kernel(release: Release) -> Release:
    block = replace(release.models["normal"], gamma=np.array([[0.0, 1.0], [0.5, 0.0]]))
    models = {"normal": replace(release.models["normal"], kernel=KERNEL)}
    lower = {"normal": {"sector_block": replace(block, kernel=KERNEL)}}
    return replace(release, models=models, lower=lower)


def test_a_release_with_a_kernel_is_of_the_next_schema_and_every_rung_has_it(
    release: Release, with_kernel: Release, tmp_path: Path
) -> None:
    assert (release.schema_version, with_kernel.schema_version) == (2, 3)
    digest = release_files.write(with_kernel, tmp_path / "r")
    back = release_files.read(tmp_path / "r", digest)
    assert json.loads(back.manifest)["schema_version"] == 3
    for rung in ("full", "sector_block", "self_only"):
        answer = (back if rung == "full" else _held(back, rung)).model_for("normal")
        assert answer.rung == rung and answer.model is not None and answer.model.kernel == KERNEL
    release_files.write(release, tmp_path / "bare")
    assert release_files.read(tmp_path / "bare").models["normal"].kernel is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda k: k.update(weights=[-0.3, 1.3]), r"weights of the kernel\[0\] is -0.3"),
        (lambda k: k.update(weights=[0.3, None]), r"weights of the kernel\[1\] is None"),
        (lambda k: k.update(weights=[0.3, float("nan")]), r"weights of the kernel\[1\] is nan"),
        (lambda k: k.update(type="power_law"), "not sum_of_exponentials"),
        (lambda k: k.update(version=2), "the kernel has the fields"),
        (lambda k: k.pop("errors"), "the kernel has the fields"),
        (lambda k: k.update(scale_self=1), "another decay kernel than what ships"),
        (lambda k: k.update(overnight=0), "canonical"),
    ],
)
def test_a_forged_kernel_is_refused_even_when_the_hashes_agree(
    with_kernel: Release, tmp_path: Path, change, told: str
) -> None:
    release_files.write(with_kernel, tmp_path / "r")
    _forge(tmp_path / "r", "model-normal-full.json", lambda m: change(m["kernel"]))
    with pytest.raises(StaleModel, match=told):
        release_files.read(tmp_path / "r")


def test_a_kernel_under_the_schema_without_is_refused(
    with_kernel: Release, release: Release, tmp_path: Path
) -> None:
    for made, version in ((with_kernel, 2), (release, 3)):
        folder = tmp_path / str(version)
        release_files.write(made, folder)
        _manifest(folder, schema_version=version)
        with pytest.raises(StaleModel, match=f"and says {version}"):
            release_files.read(folder)


def test_a_kernel_of_other_buckets_than_the_release_s_is_refused(with_kernel: Release) -> None:
    minutes = replace(with_kernel.models["normal"], kernel=replace(KERNEL, bucket_min=1.0))
    with pytest.raises(ModelError, match="is of buckets of 60 s, the release of 300 s"):
        replace(with_kernel, models={"normal": minutes}, lower={})


def test_the_rungs_of_a_regime_have_one_kernel(with_kernel: Release) -> None:
    bare = replace(with_kernel.lower["normal"]["sector_block"], kernel=None)
    with pytest.raises(ModelError, match="rung 'sector_block' of regime 'normal' has another"):
        replace(with_kernel, lower={"normal": {"sector_block": bare}})


@pytest.mark.parametrize(("scale", "refused"), [(1.4, False), (1.99, True)])
def test_a_kernel_that_pays_round_trips_is_refused_on_loading(
    with_kernel: Release, scale: float, refused: bool
) -> None:
    kernel = replace(KERNEL, scale_self=scale, scale_cross=scale)
    models = {"normal": replace(with_kernel.models["normal"], kernel=kernel)}
    tried = replace(with_kernel, models=models, lower={})
    assert path_certificate(models["normal"]).admissible is not refused
    if not refused:
        return admissible.check(tried)
    with pytest.raises(ModelError, match="over buckets would make money"):
        admissible.check(tried)
    return None
