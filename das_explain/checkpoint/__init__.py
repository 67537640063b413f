"""From a model spec to a network that is ready to be explained: where networks come from.

``load`` and ``save`` are the doors, ``model`` is what comes out. On the way: ``spec`` takes the text apart, a file of
``sources`` opens each kind of it, ``layouts`` reads folders whoever wrote them, ``build`` makes the empty network
(``torchvision_networks`` and ``timm_networks`` those of others), ``files`` reads a weight file without running code,
``fit`` loads it strictly or says what differs, ``randomize`` forgets it again. ``labels``, ``blocks``, ``config`` and
``fingerprint`` are what is known of a model besides its weights; ``warm`` starts a training from them; ``shipped`` finds
the networks that come with the project.
"""
