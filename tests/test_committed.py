"""The committed outcomes are those of the code, weights and numbers of this project: all that its tables need, and no other."""

from pidlib.committed import TABLE, committed
from pidlib.experiment import load_preset
from pidlib.reweighting_tables import all_settings
from pidlib.settings import evaluation_name


def test_what_is_committed_is_what_the_tables_need():
    preset, rows = load_preset("offline"), committed()
    needed, there = {one.fingerprint: one for one in all_settings(preset)}, set(rows["fingerprint"])
    missing, left = needed.keys() - there, there - needed.keys()
    assert not missing and not left, (
        f"{TABLE}: {len(missing)} of {len(needed)} settings are missing, {len(left)} are left over: something that makes an outcome was"
        " changed; run `python -m pidlib.outcomes --preset offline --jobs 2`"
    )
    assert rows["converged"].all() and not rows.duplicated(["fingerprint", "benchmark", "measure"]).any()
    asked = rows[rows["measure"] == "accuracy"].groupby("fingerprint")["benchmark"].agg(set)
    assert all(set(asked[mark]) == {one.trained_on, evaluation_name(one.trained_on), *one.retained} for mark, one in needed.items())
    assert rows.groupby("fingerprint")["measure"].nunique().eq(6).all()
