"""Numbers that the omni-modal notebooks state in their text, computed again from the committed tables."""

import re

import numpy as np
import pandas as pd
import pytest
from test_prose import read, short, told

from pidlib._common import project_root
from pidlib.benchmarks import micro_av
from pidlib.experiments import tables
from pidlib.experiments.omni.fig_bottleneck import EFFECTS, SUBSETS, audio_share
from pidlib.experiments.omni.fig_shuffle import correlations
from pidlib.experiments.preset import load_preset
from pidlib.models.load import MINIS


def table_of(name: str) -> pd.DataFrame:
    """A committed table of this experiment."""
    return tables.read(project_root() / f"data/results/omni/{name}.csv")


def _stamps() -> pd.DataFrame:
    table = read("fig_stamps", "omni").assign(given=lambda rows: rows["given"].fillna(""))
    return table.set_index(
        ["unimodal", "benchmark", "source_a", "source_b", "given", "pairing", "atom"]
    ).sort_index()


def stamps() -> list[str]:
    path = project_root() / "data/results/omni/fig_stamps_probes.csv"
    table, probes = _stamps(), tables.read(path).set_index(["benchmark", "source"])

    def of(
        target: str,
        sources: str,
        atom: str,
        kind: str = "probe",
        pairing: str = "matched",
        given: str = "",
    ) -> pd.Series:
        return table.loc[(kind, f"stamps/{target}", *sources.split(), given, pairing, atom)]

    def bits(*names: str, **options: str) -> str:
        return signed(of(*names, **options)["corrected_bits"])

    def ends(*names: str) -> str:
        row = of(*names)
        return f"{bits(*names)} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"

    def signed(value: float) -> str:
        return ("-" if value < 0 else "") + short(abs(value))

    both, heard = ("category", "vision language"), ("category", "vision audio")
    seen = table.query(
        "atom == 'synergy' and pairing == 'matched' and null_p <= 0.05"
    ).reset_index()
    assert set(zip(seen["benchmark"], seen["source_a"], seen["source_b"], strict=True)) == {
        ("stamps/match", "vision", "language")
    }
    accuracy = {
        source: short(probes.loc[("stamps/category", source), "accuracy"])
        for source in ("vision", "language", "audio")
    }
    shared, voice = (
        ends(*both, "redundancy").split(" ", 1),
        ends("spoken", "vision audio", "unique_audio").split(" ", 1),
    )
    chance = [of(*pair, "synergy") for pair in (both, heard)]
    return [
        f"{probes['n_fitted'].iloc[0] + probes['n_samples'].iloc[0]} pictures of eight categories",
        f"with {probes['n_samples'].iloc[0]} pictures and `seed = {probes['seed'].iloc[0]}`",
        f"share {shared[0]} bits {shared[1]} of the category's {short(probes.loc[('stamps/category', 'vision'), 'target_bits'])}",
        f"the caption adds {bits(*both, 'unique_language')} alone, the picture {ends(*both, 'unique_vision')}",
        f"(probes: {accuracy['vision']} and {accuracy['language']} right)",
        f"$R$ {bits(*both, 'redundancy', pairing='mismatched')}, while the caption keeps "
        + bits(*both, "unique_language", pairing="mismatched"),
        f"({accuracy['audio']} right against a prior of {short(probes.loc[('stamps/category', 'audio'), 'prior'])}; "
        f"$R$ {bits(*heard, 'redundancy')} with the picture",
        f"beside the voice, the picture still adds {bits(*heard, 'unique_vision', given='language')}",
        f"the voice alone tells {voice[0]} bits {voice[1]} of the language spoken",
        f"whether they belong together, $S$ {ends('match', 'vision language', 'synergy')}",
        f"The {bits('match', 'vision language', 'synergy')} bits of picture and caption are synergy",
        f"for picture and voice, {ends('match', 'vision audio', 'synergy')} is not detected",
        f"{bits('spoken', 'vision audio', 'unique_audio', 'codes')} of {voice[0]} bits of the language spoken, and "
        f"{bits(*both, 'redundancy', 'codes')} of {shared[0]} shared",
        f"the probes give {short(chance[0]['null_mean'])} bits of it with the caption and {short(chance[1]['null_mean'])} with the voice, "
        f"more than was counted ({short(chance[0]['value_bits'])} and {short(chance[1]['value_bits'])})",
    ]


def _minis(table: str) -> pd.DataFrame:
    """Without the published rows; minis by what sets them apart."""
    names = {"qwen2_5_omni": "larger", "qwen2_5_omni_compact": "compact"}
    rows = table_of(table).assign(
        model=lambda rows: rows["model"].replace(names).str.removeprefix("qwen2_5_omni_compact_")
    )
    return rows[rows["estimator"] == "exact"] if "estimator" in rows else rows


def _shared(table: str, *columns: str) -> pd.DataFrame:
    rows = _minis(table).assign(
        benchmark=lambda rows: rows["benchmark"].str.removeprefix("micro_av/")
    )
    return rows.set_index(list(columns)).sort_index()


def shuffle() -> list[str]:
    table = table_of("fig_shuffle")
    found = (
        table.query("kind == 'correlation'")
        .set_index(["benchmark", "quantity", "intervention"])
        .sort_index()
    )
    templates, subsets, within = (
        "all models and templates",
        "all models and subsets",
        "mean within subsets",
    )
    streams = ("video swapped", "sound swapped")
    own, added = (
        {
            scope: [found.loc[(scope, *pair)] for pair in zip(names, streams, strict=True)]
            for scope in (templates, subsets, within)
        }
        for names in (
            ("unique_vision", "unique_audio"),
            ("vision_given_audio", "audio_given_vision"),
        )
    )

    def told(row: pd.Series, *, of: bool = False, p: int = 2) -> str:
        shown = (
            [short(row["value"])] * (not of)
            + [short(row["null_high"])]
            + [f"$p$ = {short(row['null_p'], p)}"] * bool(p)
        )
        return "; ".join(shown)

    def over(row: pd.Series) -> float:
        return row["value"] - row["null_high"]

    sight, sound = own[templates]
    seen, heard = own[within]
    published = table.query("kind == 'published'")["value"]
    assert (
        max(row["ci_high"] for scope in (templates, subsets) for row in own[scope])
        < published.min()
    )
    assert all(
        over(row) < -0.01
        for row in (
            *own[subsets],
            sight,
            seen,
            added[templates][0],
            added[within][0],
            added[subsets][0],
        )
    )
    assert max(abs(over(row)) for row in (sound, heard, added[subsets][1])) < 0.005
    assert all(over(row) > 0.03 for row in (added[templates][1], added[within][1]))
    assert all(
        row["n_cells"] == found.loc[("micro_av/fusion", "unique_audio", "sound swapped"), "n_cells"]
        for row in own[within]
    )
    assert all(row["ci_low"] < 1e-9 for row in added[within])
    assert all(
        more["value"] > less["value"]
        for more, less in zip(added[templates], own[templates], strict=True)
    )
    alone, reach = (
        found.loc[(within, "synergy", "video swapped")],
        found.xs((within, "video swapped"), level=(0, 2))["ci_low"] > 1e-9,
    )
    assert (
        over(alone) > 0
        and reach[reach].index.tolist() == ["synergy"]
        and len(found.loc[within]) == 10
    )
    assert (
        round(added[subsets][1]["null_p"] * 24) == 2
        and load_preset("offline").n_permutations == 200
    )
    return [
        f"$\\rho$ is {short(sight['value'])} for the video, inside its null band (which ends at {told(sight, of=True)}), and "
        f"{short(sound['value'])} for the sound, at the end of its band ({told(sound, of=True)})",
        "both lie inside their bands ({} for the video, {} for the sound)".format(
            *(short(row["value"]) for row in own[subsets])
        ),
        f"The published {' and '.join(map(short, published))} [N] lie above all four intervals",
        f"There too $U_v$ lies inside the band ({short(seen['value'])}; it ends at {told(seen, of=True)}) "
        f"and $U_a$ at its end ({told(heard)})",
        f"above the band over templates ({told(added[templates][1], p=3)}) "
        f"and a little above it within `fusion` ({told(added[within][1])})",
        f"close to the end over templates ({told(added[templates][0])}) and less so within `fusion` ({told(added[within][0])})",
        "({} for the video, {} for the sound, where two of the 24 orders".format(
            *(told(row, p=0) for row in added[subsets])
        ),
        f"within `fusion`: {short(alone['value'])} [{short(alone['ci_low'])}, {short(alone['ci_high'])}], "
        f"a little above its band ({told(alone, of=True)})",
    ]


def test_other_draws_of_the_null_move_some_bands_of_swapped_streams_by_a_twentieth():
    cells = table_of("fig_shuffle").query("kind in ('quantity', 'drop')")
    at = ["benchmark", "quantity", "intervention"]
    ends = pd.concat(
        [correlations(cells, 1, 200, seed).set_index(at)["null_high"] for seed in range(8)], axis=1
    )
    ends = ends.loc[["all models and templates", "mean within subsets"]]
    assert 0.035 < ends.std(axis=1).max() < 0.065


def sensory() -> list[str]:
    table = _shared("table2_sensory", "reference", "benchmark", "model", "atom")
    bits = table["value_bits"].astype(float)
    moved = (
        table[["moved_vision", "moved_audio"]].astype(float).xs("plain", level="model").max(axis=1)
    )

    def fusion(model: str, atom: str) -> str:
        return short(bits["question", "fusion", model, atom])

    def plain(atom: str) -> str:
        return short(bits["question", "polarity", "plain", atom])

    right = (
        table.loc["question"]
        .xs("synergy", level="atom")[["accuracy", "accuracy_vision", "entropy_vision_bits"]]
        .astype(float)
    )
    lost = 100 * (right["accuracy"] - right["accuracy_vision"])
    ends = {
        name: f"{max(lost[name].min(), 0):.0f} to {lost[name].max():.0f}"
        for name in ("fusion", "audio", "polarity")
    }
    seeing = right["accuracy"].xs("seeing", level="model")
    assert seeing["gated"] == 1
    floors = (
        table.loc["marginal"]
        .xs("redundancy", level="atom")["null_mean"]
        .drop("plain", level="model")
        .astype(float)
    )
    assert (
        floors[["audio", "visual", "fusion"]].min() > 0.9
    )  # of R_m: what the form of the question tells
    added = bits["sample"].xs("redundancy", level="atom") - bits["question"].xs(
        "redundancy", level="atom"
    )
    unlike, alike = added.xs("plain", level="model"), added.drop("plain", level="model").max()
    return [
        f"$S$ = {fusion('larger', 'synergy')} and {fusion('compact', 'synergy')}, the largest part, "
        f"$U_v$ = {fusion('larger', 'unique_vision')} and {fusion('compact', 'unique_vision')}",
        f"$U_v$ = {fusion('seeing', 'unique_vision')}, then $S$ = {fusion('seeing', 'synergy')}",
        f"points, ours {ends['fusion']} on fusion ({ends['audio']} on audio, {ends['polarity']} on polarity)",
        f"mostly on fusion ({short(seeing['fusion'])}): unsure, not wrong; on polarity alone does it guess ({short(seeing['polarity'])})",
        f"sight alone leaves {short(right.loc[('audio', 'larger'), 'entropy_vision_bits'])} bits",
        f"$R_s$ adds {short(alike)} at most in minis that were shown noise in training and "
        f"{unlike.min():.1f} to {unlike.max():.1f} in `plain`",
        f"gets $S$ = {plain('synergy')} and $R$ = {plain('redundancy')}. Reconciliation moved its decisions by "
        f"{short(moved.xs('polarity', level='benchmark').max())} there and by up to {short(moved.max())} elsewhere",
    ]


def subsets() -> list[str]:
    table = _shared("table2_sensory", "reference", "benchmark", "atom", "model").loc["question"]
    bits = table["value_bits"].astype(float)

    floor = table.loc[("polarity", "redundancy", "plain"), "null_mean"]

    def two(benchmark: str, atom: str) -> str:
        return f"{short(bits[benchmark, atom, 'larger'])} and {short(bits[benchmark, atom, 'compact'])} on {benchmark}"

    return [
        f"$U_a$ = {two('audio', 'unique_audio')}, $U_v$ = {two('visual', 'unique_vision')}",
        f"$S$ = {two('polarity', 'synergy')}",
        f"takes {short(bits['audio', 'unique_audio', 'seeing'])} bits from sound",
        "On fusion, gated and polarity it has little "
        f"$S$ ({', '.join(short(bits[name, 'synergy', 'seeing']) for name in ('fusion', 'gated', 'polarity'))})",
        f"The floor of its $R$ on polarity is {short(floor)} bits",
    ]


def recovery() -> list[str]:
    table = _shared("fig_recovery", "given", "model", "template", "atom").drop(
        "total", level="atom"
    )
    truth = (
        table_of("fig_recovery")
        .query("estimator == 'truth'")
        .set_index(["given", "template", "atom"])["value_bits"]
        .astype(float)
    )
    bits = table["value_bits"].astype(float).unstack("model")

    def off(given: str, ideal: str) -> pd.DataFrame:
        """By template, atom and model, how far from what an estimate would make of an ideal answerer."""
        return bits.loc[given].sub(truth[ideal], axis=0).abs()

    trained, asked, ignored = (
        ["larger", "compact"],
        off("question", "question"),
        off("ignored", "question"),
    )
    farthest = asked[trained].stack().idxmax()
    assert farthest == ("sounding", "unique_audio", "larger")
    assert {one: ignored[one].idxmax() for one in trained} == dict.fromkeys(
        trained, ("polarity", "synergy")
    )
    moved = (bits.loc["template"] - bits.loc["question"]).abs().max()
    as_ideal = off("ignored", "ignored")[trained].mean()
    found = table.loc[("question", "larger", "sounding", "unique_audio")]
    lost = bits.loc[("ignored", "polarity", "synergy")]

    def two(atom: str) -> str:
        return " and ".join(short(bits.loc[("ignored", "gated", atom), one]) for one in trained)

    return [
        f"lie {short(asked[trained].stack().mean())} bits from the truth on average; "
        f"with the question ignored, they are {short(ignored[trained].stack().mean())} off on average, "
        f"and {ignored[trained].max().max():.2f} on `polarity`",
        f"the farthest atom is $U_a$ = {short(found['value_bits'])} of 1 on `sounding`, "
        f"in the larger mini, which is right on {100 * found['accuracy']:.0f} % there",
        f"their atoms move by {short(moved[trained].max())} at most",
        f"`polarity` has $S$ = {short(abs(lost['compact']))} in place of 1",
        f"$U_v$ falls to {two('unique_vision')}, $S$ to {two('synergy')}",
        f"they are only {' and '.join(short(one) for one in as_ideal)} off",
        f"lies {short(asked['plain'].mean())} off on average given the question, and up to {short(asked['plain'].max())}",
        f"({short(moved['plain'])} at most). With the question ignored, its $S$ on `polarity` is $-${short(-lost['plain'])}",
    ]


def gate() -> list[str]:
    claims, table = (
        table_of("fig_gate_claims").set_index(["statistic", "model"]),
        table_of("fig_gate"),
    )
    claims = claims.assign(
        **{name: claims[name].astype(float) for name in ("value", "ci_low", "ci_high")}
    )
    parts, late, sight, sound = (
        claims.loc[name]
        for name in ("later_than_before", "late_synergy", "vision_parts", "audio_parts")
    )
    right = table.query("needs == 'vision'")[["accuracy_sounding", "accuracy_silent"]]
    assert right.eq(1).all(axis=None) and table["accuracy"].eq(1).all()
    assert (
        sight["verdict"].tolist() == ["holds", "holds", "against", "against"]
        and sound["verdict"].eq("holds").all()
    )
    preset = load_preset("offline")
    pairs = micro_av.load_pairs(preset.split, preset.n_omni_intervened, preset.seed)
    silent = [(fused, plain) for fused, plain in pairs if plain.sample_id.endswith("_silent")]
    differing = sum(fused.answer != plain.answer for fused, plain in silent)
    one, rest, all_late = (
        parts.iloc[0],
        [short(-value) for value in parts["value"].iloc[1:]],
        [short(-value) for value in late["value"]],
    )
    wide = table.assign(value_bits=table["value_bits"].astype(float)).pivot(
        index=["atom", "model", "layer"], columns="needs", values="value_bits"
    )
    gap = (wide["both"] - wide["vision"])["synergy"].unstack("model")
    larger, compact = (
        gap[parts.index[0]].tolist(),
        gap.drop(columns=parts.index[0]).loc[:1],
    )  # whose last block is the third
    below = wide.loc[("synergy", parts.index[0]), "vision"].loc[:2]
    shared = table.query(
        "atom == 'redundancy' and needs == 'vision' and model == @parts.index[0] and layer < 3"
    )
    shared, floor = (shared[name].astype(float) for name in ("value_bits", "null_mean"))
    assert (shared < floor).all() and sound["value"].iloc[1:].max() < 0.005
    audio = wide.loc[("unique_audio", parts.index[0], 0)]
    assert audio["both"] - audio["vision"] > 0.1
    blocks = (
        table[table["model"] == parts.index[0]]
        .set_index(["atom", "needs", "layer"])["value_bits"]
        .astype(float)
    )
    seen = [
        [short(blocks["unique_vision", needs, layer]) for needs in ("both", "vision")]
        for layer in (1, 2, 3)
    ]
    return [
        f"In {len(silent)} of {len(pairs)} clips the second question names the silent thing. "
        f"All four minis are right on all of these, also on the {differing} in",
        f"A model that follows the sound would be right on {short(1 - differing / len(silent))}",
        f"by {short(-one['value'])} [{short(-one['ci_high'])}, {short(-one['ci_low'])}] bits in the larger mini, "
        f"and by {', '.join(rest[:2])} and {rest[2]} in `compact`, `seeing` and `plain`",
        f"has a gap of more than {short(np.ceil(100 * compact.abs().to_numpy().max()) / 100)}. "
        f"In the larger mini the gap grows block by block: {short(larger[0])}, {short(larger[1])} and {short(larger[2])}, "
        f"then {short(larger[3])}",
        f"below zero (-{short(-below.min())} to -{short(-below.max())}), and its $R$ (redundancy, not drawn; {short(shared.min())} "
        f"to {short(shared.max())}) is below the floor ({short(floor.min())} to {short(floor.max())})",
        f"({short(sound['value'].iloc[0])} bits in the larger mini, .00 in the others)",
        f"larger mini, $U_a$ is {short(audio['both'])} with need and {short(audio['vision'])} without",
        f"at the output at all, of {', '.join(all_late[:3])} and {all_late[3]} bits,",
        f"$U_v$ differs by {short(sight['value'].iloc[0])} "
        f"[{short(sight['ci_low'].iloc[0])}, {short(sight['ci_high'].iloc[0])}] bits in the larger mini and by "
        f"{short(sight['value'].iloc[1])} in `compact`",
        f"In `seeing` it differs by {short(sight['value'].iloc[2])}",
        f"In `plain` it differs by {short(sight['value'].iloc[3])}",
        f"its $U_v$ is {seen[0][0]} and {seen[1][0]} with need, against {seen[0][1]} and {seen[1][1]} without",
        f"falls to {seen[2][0]} where fusion is needed and rises to {seen[2][1]}",
    ]


def blocks() -> list[str]:
    claims = table_of("fig_layers_claims").set_index("statistic")
    lead, late = (
        claims.loc["vision_lead"],
        claims.loc["synergy_late"].query("verdict == 'holds'")["value"],
    )
    bits = _minis("fig_layers").set_index(["model", "atom", "layer"])["value_bits"].astype(float)
    ends, rest = lead.iloc[0], [short(value) for value in lead["value"].iloc[1:]]
    return [
        f"by {short(ends['value'])} [{short(ends['ci_low'])}, {short(ends['ci_high'])}] of the depth in the larger mini, "
        f"and by {', '.join(rest[:2])} and {rest[2]} in `compact`, `seeing` and `plain`",
        f"$U_a$ = {short(bits['larger', 'unique_audio', 0])} after the first block, "
        f"where $U_v$ is {short(bits['larger', 'unique_vision', 0])}",
        "({}, {} and {}; not in `plain`)".format(*(short(value) for value in late)),
    ]


def ceiling() -> list[str]:
    table = table_of("fig_bottleneck")
    numbers = ["value_bits", "ci_low", "ci_high", "null_p"]
    found = (
        table[table["kind"].isin(("effect", "bend"))]
        .set_index(["benchmark", "kind", "atom"])[numbers]
        .astype(float)
    )
    changes = (
        table.query("kind == 'change' and atom == 'synergy'")
        .set_index("trained_seed")[numbers]
        .astype(float)
    )
    heard = table[table["kind"] == "salience"]
    loud = (
        heard[heard["atom"] == "synergy"]
        .pivot(index="trained_seed", columns="gain", values="value_bits")
        .astype(float)
    )
    seen = heard.query("atom == 'unique_vision' and gain == 0")["value_bits"]
    trained, polar = (table.query("kind == 'training' and benchmark == @name") for name in SUBSETS)
    bits = trained.pivot(
        index=["audio_share", "trained_seed"], columns="atom", values="value_bits"
    ).astype(float)
    ideal = trained.groupby("atom")["truth_bits"].first().astype(float)
    polar = polar[polar["atom"] == "synergy"].groupby("audio_share")
    means, right = polar["value_bits"].mean(), polar["accuracy"].agg(["min", "max"])
    leaning = _shared("table2_sensory", "reference", "benchmark", "model", "atom").loc[
        ("question", "fusion", "seeing")
    ]
    assert (trained["accuracy"] == 1).all() and len(bits) == 9 and right.loc[0.5].eq(1).all()
    (chance,) = found.index[found["null_p"] < 0.05]
    assert chance == (SUBSETS[0], "effect", "redundancy") and len(found) == 16

    def span(values: pd.Series) -> str:
        return f"{signed(values.min())} to {signed(values.max())}"

    def ends(row: pd.Series, sign: int = 1) -> str:
        low, high = sorted(sign * row[["ci_low", "ci_high"]])
        return f"{signed(sign * row['value_bits'])} [{signed(low)}, {signed(high)}]"

    def signed(value: float) -> str:
        return ("-" if value < 0 else "") + short(abs(value))

    effects, bends = (found.xs(kind, level="kind") for kind in ("effect", "bend"))
    line = {atom: ends(effects.loc[(SUBSETS[0], atom)]) for atom in EFFECTS}
    bend, rise = (some.loc[(SUBSETS[1], "synergy")] for some in (bends, effects))
    cards = {name: _card(name) for name in load_preset("offline").bottleneck_models}
    asked = pd.DataFrame(cards).T.assign(share=[audio_share(name) for name in cards])
    deaf, blind = (
        asked.query("share == 0.125")["micro_av/audio"],
        asked.query("share == 0.875")["micro_av/visual"],
    )
    rest = (
        asked.query("share > 0.125")["micro_av/audio"],
        asked.query("share < 0.875")["micro_av/visual"],
    )
    most = effects.loc[(SUBSETS[0], "synergy"), ["ci_low", "ci_high"]].abs().max()
    return [
        f"$S$ is {span(bits['synergy'])} of the ideal's {short(ideal['synergy'])} bits, $U_v$ {span(bits['unique_vision'])} of "
        f"{short(ideal['unique_vision'])}, and $U_a$ {span(bits['unique_audio'])} of {short(ideal['unique_audio'])}",
        f"from a share of 1/8 to 7/8, $S$ changes by {line['synergy']} bits",
        f"$U_v$ changes by {line['unique_vision']} bits and $U_a$ by {line['unique_audio']}",
        f"exclude a line that changes $S$ by more than {short(most)} bits",
        f"less $S$ than the rest, by {ends(bends.loc[(SUBSETS[0], 'synergy')], -1)}",
        f"at 1/8 on {span(right.loc[0.125])} of them, and at 7/8 on {short(right.loc[0.875, 'min'])} to {right.loc[0.875, 'max']:.2f}",
        "Averaged over the three seeds, "
        f"$S$ is {short(means[0.125])}, {short(means[0.5])} and {short(means[0.875])} bits at the three shares",
        f"with the middle {ends(bend)} above the rest. Along the line, $S$ changes by {ends(rise)}",
        f"the rise of $R$ on fusion ({signed(found.loc[chance, 'value_bits'])} bits)",
        f"on {span(deaf)} of the questions about sound (from their model cards), at 7/8 on {span(blind)} of those about sight, "
        f"and otherwise on {short(np.floor(100 * min(map(min, rest))) / 100)} or more",
        "has $U_v$ = {} and $S$ = {} on fusion".format(
            *map(short, leaning.loc[["unique_vision", "synergy"], "value_bits"])
        ),
        f"and is right on {short(leaning.loc['synergy', 'accuracy'])} of it",
        f"From .1 to .3, $S$ rises by {span(loud[0.3] - loud[0.1])}. "
        f"From .3 to 1 it changes by {', '.join(ends(changes.loc[seed]) for seed in (0, 1))} and "
        f"{ends(changes.loc[2])}",
        f"({short(loud[0.0].abs().max())} in all three) and $U_v$ is {span(seen)}",
    ]


def _card(name: str) -> dict[str, float]:
    """Test accuracies as the card of a mini tells them."""
    text = (MINIS / name / "README.md").read_text(encoding="utf-8")
    return {
        benchmark: float(value)
        for benchmark, value in re.findall(r"\| ([\w/]+) \| ([\d.]+) \|", text)
    }


def clips() -> list[str]:
    table = (
        read("fig_clips", "omni")
        .set_index(["unimodal", "given", "atom", "template"])["value_bits"]
        .astype(float)
        .sort_index()
    )
    masked, shared = table.loc["masked"].unstack("atom"), table.xs("redundancy", level="atom")
    told, ignored = (masked.loc[given].sum(axis=1) for given in ("question", "nothing"))
    lost = (1 - ignored / told).round(3)
    assert lost[lost > 0].to_dict() == dict.fromkeys(
        ("sounding", "direction", "moves_left", "gated"), 0.5
    ) | {"polarity": 1.0}
    redundant = shared.loc["masked", "question"].round(3)
    assert (
        redundant[redundant > 0].index.tolist() == ["playing"]
        and shared.loc["resampled"].abs().max() < 0.001
    )
    assert masked.loc["question"].max().drop("redundancy").round(3).eq(1).all()
    return [
        f"up to a full bit of $U_v$, of $U_a$ and of $S$, and {short(redundant.max())} bits of $R$",
        f"In `playing`, sight tells {short(redundant['playing'])} bits of the one bit that sound tells",
        "half of the information is lost in `sounding`, `direction`, `moves left` and `gated`, and all of it in `polarity`",
    ]


TOLD = {
    "fig_clips": clips,
    "fig_stamps": stamps,
    "fig_shuffle": shuffle,
    "table2_sensory": lambda: sensory() + subsets(),
    "fig_recovery": recovery,
    "fig_gate": gate,
    "fig_layers": blocks,
    "fig_bottleneck": ceiling,
}


@pytest.mark.parametrize(("notebook", "statements"), TOLD.items())
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook, "omni")
    assert [statement for statement in statements() if statement not in text] == []
