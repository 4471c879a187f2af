"""Cases of what a session has besides its variables: made in a cell, looked at live, in forks and after restores."""
