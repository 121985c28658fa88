"""Building blocks shared by the networks; they import nothing of ours outside this folder."""
