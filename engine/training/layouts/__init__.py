"""The paper's five data sets: from the folders of their owners to the one that `train` reads.

Nothing here needs torch. `prepare` writes; `polyps`, `refuge2` and `volumes` know the owners'
folders; `splits` and `groups` say which case goes into which list.
"""
