collect_ignore = ["sixth_system"]  # files for another tree: see test_sixth_system.py
