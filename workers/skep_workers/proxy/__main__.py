"""`python -m skep_workers.proxy FD`: the proxy of a worker, which starts it with the descriptor of a control socket."""

import sys

from skep_workers.proxy.service import run

if __name__ == "__main__":
    run(int(sys.argv[1]))
