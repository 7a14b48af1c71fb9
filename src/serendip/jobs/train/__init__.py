"""``serendip train``.

``train.py`` lists the steps, ``fit.py`` fits models and ``ranker`` the ranker, ``engine_fit.py``
fits both on the older part and on all of the data, ``gates.py`` checks the result,
``carry_over.py`` keeps semantic IDs and vectors comparable with the published generation.
"""
