"""A fault ends in the right result or in one sentence. ``make faults`` runs the trials that take longer."""

import faults
import pytest

QUICK = ("full_download",)


@pytest.fixture(scope="module")
def bench(tiny, tmp_path_factory) -> faults.Bench:
    """Return the small miniature to break, for one kill of each kind."""
    return faults.Bench(tmp_path_factory.mktemp("bench"), kills=1, data=tiny)


@pytest.mark.parametrize(
    "trial", [one for one in faults.TRIALS if one.run.__name__ in QUICK], ids=lambda one: one.fault
)
def test_a_fault_ends_well(trial, bench):
    """The same command goes on to the result of an undisturbed one."""
    try:
        assert trial.run(bench)
    except faults.NotTried as reason:
        pytest.skip(str(reason))


def test_a_trial_can_fail(bench):
    """A command that ends well where it should refuse fails its trial; one that the machine forbids is not tried."""

    def allowed(bench):
        return faults.refuse(faults.mimii(bench.folder, "--help"))

    def forbidden(bench):
        raise faults.NotTried("no rights")

    trials = [faults.Trial("kind", run.__name__, run, long=False) for run in (allowed, forbidden)]
    rows = list(faults.outcomes(bench, trials))
    assert [row["passed"] for row in rows] == [False, None]
    assert "exit code 0" in rows[0]["result"]
