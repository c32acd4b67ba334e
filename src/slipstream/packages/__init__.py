"""Packages of plugins: what is in one, who made it, where it comes from, and which one is used.

`settings` reads which plugins an operator wants, `providers` brings each to its library: `store`
and `central` find an archive, `sealed` reads it once, `zips` and `archive` refuse what is hostile,
`lock` and `trust` say whether it is the one that was meant. Nothing of a package runs here.
"""
