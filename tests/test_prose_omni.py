"""Numbers that the omni-modal notebooks state in their text, computed again from the committed tables."""

import pandas as pd
import pytest
from test_prose import read, short, told


def _stamps() -> pd.DataFrame:
    table = read("fig_stamps", "omni").assign(given=lambda rows: rows["given"].fillna(""))
    return table.set_index(["unimodal", "benchmark", "source_a", "source_b", "given", "pairing", "atom"]).sort_index()


def stamps() -> list[str]:
    table, probes = _stamps(), read("table_stamps", "omni").set_index(["benchmark", "source"])

    def of(target: str, sources: str, atom: str, kind: str = "probe", pairing: str = "matched", given: str = "") -> pd.Series:
        return table.loc[(kind, f"stamps/{target}", *sources.split(), given, pairing, atom)]

    def bits(*names: str, **options: str) -> str:
        return signed(of(*names, **options)["corrected_bits"])

    def ends(*names: str) -> str:
        row = of(*names)
        return f"{bits(*names)} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"

    def signed(value: float) -> str:
        return ("-" if value < 0 else "") + short(abs(value))

    both, heard = ("category", "vision language"), ("category", "vision audio")
    seen = table.query("atom == 'synergy' and pairing == 'matched' and null_p <= 0.05").reset_index()
    assert set(zip(seen["benchmark"], seen["source_a"], seen["source_b"], strict=True)) == {("stamps/match", "vision", "language")}
    accuracy = {source: short(probes.loc[("stamps/category", source), "accuracy"]) for source in ("vision", "language", "audio")}
    shared, voice = ends(*both, "redundancy").split(" ", 1), ends("spoken", "vision audio", "unique_audio").split(" ", 1)
    chance = [of(*pair, "synergy") for pair in (both, heard)]
    return [
        f"{probes['n_fitted'].iloc[0] + probes['n_samples'].iloc[0]} pictures of eight categories",
        f"with {probes['n_samples'].iloc[0]} pictures and `seed = {probes['seed'].iloc[0]}`",
        f"share {shared[0]} bits {shared[1]} of {short(probes.loc[('stamps/category', 'vision'), 'target_bits'])}",
        f"the caption adds {bits(*both, 'unique_language')} alone, the picture {ends(*both, 'unique_vision')}",
        f"(probes: {accuracy['vision']} and {accuracy['language']} right)",
        f"R {bits(*both, 'redundancy', pairing='mismatched')}, while the caption keeps "
        + bits(*both, "unique_language", pairing="mismatched"),
        f"({accuracy['audio']} right against a prior of {short(probes.loc[('stamps/category', 'audio'), 'prior'])}; "
        f"R {bits(*heard, 'redundancy')} with the picture",
        f"the picture still adds {bits(*heard, 'unique_vision', given='language')}",
        f"{voice[0]} bits {voice[1]} in the voice alone",
        f"S {ends('match', 'vision language', 'synergy')}; of picture and voice {ends('match', 'vision audio', 'synergy')} is not seen",
        f"{bits('spoken', 'vision audio', 'unique_audio', 'codes')} of {voice[0]} bits of the language spoken, and "
        f"{bits(*both, 'redundancy', 'codes')} of {shared[0]} shared",
        f"gives the probes {short(chance[0]['null_mean'])} bits of it with the caption and {short(chance[1]['null_mean'])} with the voice, "
        f"more than was counted ({short(chance[0]['value_bits'])} and {short(chance[1]['value_bits'])})",
    ]


@pytest.mark.parametrize(("notebook", "statements"), [("fig_stamps", stamps)])
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook, "omni")
    assert [statement for statement in statements() if statement not in text] == []
