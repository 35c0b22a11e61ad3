"""Confirmation: a shortlist of losses, frozen beforehand, compared on test images with fresh seeds.

`config` is what a user asks for, `register` makes of it the registration, whose file and hash `registration` keeps;
`sources`, `guards` and `overlaps` refuse what would make the result worth nothing; `stage` tunes, tests and gives the
result (docs/confirmation.md).
"""
