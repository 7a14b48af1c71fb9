"""Query rewrites: ``build.py`` builds the table, ``scorer_data.py`` what its model learns from."""
