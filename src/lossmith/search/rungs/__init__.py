"""Rungs: what is asked of a draft before it is trained at all, the cheapest question first.

    duplicates   is it, as a function, a loss that the search has trained before? (lossmith.space.fingerprint)
    classes      with the task's number of classes, does it lead an untrained network to the true class? (`classes`)
    microtask    can it train a small network on a small problem? (`microtask`)

What each catches, loses and costs was measured: docs/screening.md. `rungs` has them as the search uses them.
"""
