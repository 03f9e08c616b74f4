"""
@article{Scheres2005a,
title = {Maximum-likelihood multi-reference refinement for electron microscopy images},
author = {Scheres, Sjors H. W. and Valle, Mikel and Nu{\\~n}ez, Rafael and Sorzano, Carlos O. S.
  and Marabini, Roberto and Herman, Gabor T. and Carazo, Jose Maria},
journal = {Journal of Molecular Biology},
volume = {348},
number = {1},
pages = {139--149},
year = {2005},
doi = {10.1016/j.jmb.2005.02.031},
url = {https://doi.org/10.1016/j.jmb.2005.02.031}
}

@article{Scheres2005b,
title = {Fast maximum-likelihood refinement of electron microscopy images},
author = {Scheres, Sjors H. W. and Valle, Mikel and Carazo, Jose Maria},
journal = {Bioinformatics},
volume = {21},
number = {suppl 2},
pages = {ii243--ii244},
year = {2005},
doi = {10.1093/bioinformatics/bti1140},
url = {https://doi.org/10.1093/bioinformatics/bti1140}
}

@article{Scheres2007,
title = {Modeling experimental image formation for likelihood-based classification of electron microscopy data},
author = {Scheres, Sjors H. W. and N{\\'u}{\\~n}ez-Ram{\\'i}rez, Rafael and G{\\'o}mez-Llorente, Yacob
  and San Mart{\\'i}n, Carmen and Eggermont, Paul P. B. and Carazo, Jos{\\'e} Mar{\\'i}a},
journal = {Structure},
volume = {15},
number = {10},
pages = {1167--1177},
year = {2007},
doi = {10.1016/j.str.2007.09.003},
url = {https://doi.org/10.1016/j.str.2007.09.003}
}

@article{Scheres2009a,
title = {Introducing robustness to maximum-likelihood refinement of electron-microscopy data},
author = {Scheres, Sjors H. W. and Carazo, Jose Maria},
journal = {Acta Crystallographica Section D},
volume = {65},
number = {7},
pages = {672--678},
year = {2009},
doi = {10.1107/S0907444909012049},
url = {https://doi.org/10.1107/S0907444909012049}
}

@article{Scheres2009b,
title = {Maximum likelihood refinement of electron microscopy data with normalization errors},
author = {Scheres, Sjors H. W. and Valle, Mikel and Grob, Patricia and Nogales, Eva and Carazo, Jose Maria},
journal = {Journal of Structural Biology},
volume = {166},
number = {2},
pages = {234--240},
year = {2009},
doi = {10.1016/j.jsb.2009.02.007},
url = {https://doi.org/10.1016/j.jsb.2009.02.007}
}

@article{Scheres2009c,
title = {Averaging of electron subtomograms and random conical tilt reconstructions through likelihood optimization},
author = {Scheres, Sjors H. W. and Melero, Roberto and Valle, Mikel and Carazo, Jose-Maria},
journal = {Structure},
volume = {17},
number = {12},
pages = {1563--1572},
year = {2009},
doi = {10.1016/j.str.2009.10.009},
url = {https://doi.org/10.1016/j.str.2009.10.009}
}

@article{Joyeux2002,
title = {Efficiency of 2D alignment methods},
author = {Joyeux, Laurent and Penczek, Pawel A.},
journal = {Ultramicroscopy},
volume = {92},
pages = {33--46},
year = {2002}
}

@article{Tang2007,
title = {{EMAN2}: an extensible image processing suite for electron microscopy},
author = {Tang, Guang and Peng, Liwei and Baldwin, Philip R. and Mann, Deepinder S. and Jiang, Wen and Rees, Ian
  and Ludtke, Steven J.},
journal = {Journal of Structural Biology},
volume = {157},
number = {1},
pages = {38--46},
year = {2007},
doi = {10.1016/j.jsb.2006.05.009},
url = {https://doi.org/10.1016/j.jsb.2006.05.009}
}

@article{Barnett2019,
title = {A parallel nonuniform fast Fourier transform library
  based on an ``exponential of semicircle'' kernel},
author = {Barnett, Alex H. and Magland, Jeremy and af Klinteberg, Ludvig},
journal = {SIAM Journal on Scientific Computing},
volume = {41},
number = {5},
pages = {C479--C504},
year = {2019},
doi = {10.1137/18M120885X},
url = {https://doi.org/10.1137/18M120885X}
}
"""
