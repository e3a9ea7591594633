"""What track memory saves and costs, what a crop's quality tells, and what a track's vector is worth.

    clips         drawn clips, and MOT17, with every box's row and whose it is
    vectors       boxes to rows, as a server computes them
    answers       what a tracker gets for a frame: by the server's rules, or of every n-th frame
    tracker       a tracker of the usual kind, the same for all
    assignment    the Hungarian method, for the tracker and for IDF1
    idf1          how much of the time each person has the same identity
    saving        policies: inferences against IDF1
    quality       rejection by quality, and its rank correlation with visibility
    track_vector  a track's vector against a crop of it, and with a wrong crop in it
    figure        curves as SVG
    command       python -m bench tracks

`python -m bench tracks --help`; docs/tracks.md has the figures.
"""
