"""Cases of a session's state besides its variables: made in a cell, checked live, in forks and after restores."""
