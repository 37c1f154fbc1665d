"""What a loss means for a person: bounds on an attacker who knows everything else.

Two families, never one as the other (L9). `proven` starts from (epsilon, delta) and holds for any
order of jobs. `gaussian` starts from mu of GDP and holds for one Gaussian, or for a plan that was
fixed in advance. `groups` says what either becomes for several linked units.

All of it is decimal arithmetic at 60 digits: the same on every machine, so that whoever computes a
report again finds the same last digit, and far finer than any figure that is shown.
"""
