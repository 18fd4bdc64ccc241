"""One progress bar for `make paper`: counts the lines "wrote ...ipynb" of stdin, out of argv[1]."""

import sys

from tqdm import tqdm

with tqdm(total=int(sys.argv[1]), desc="notebooks", unit="notebook", smoothing=0) as bar:
    for line in sys.stdin:
        bar.write(line.rstrip())
        bar.update(line.startswith("wrote ") and line.rstrip().endswith(".ipynb"))
