"""Systems after the paper: other front ends, networks and back ends than those of its Table 1."""
