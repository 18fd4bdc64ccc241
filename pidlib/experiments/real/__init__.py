"""Real pictures, and a model assembled of pretrained parts."""

# Those of `make real-paper`; modules of other experiments measure here the models of preset real.
NOTEBOOKS = ("real/fig_reliance", "real/table_contributions", "real/table_profiles")
NOTEBOOKS += ("vision_language/fig_layers", "reweighting/table3_reweighting")
