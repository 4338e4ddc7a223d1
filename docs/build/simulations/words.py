"""What the page about the statistics says in words."""

from __future__ import annotations

INTRODUCTION = """\
# The verdict's statistics

What an answer, a p and an interval of a verdict mean, and how often they are wrong. Everything below the next
heading is simulated, and made by `make statistics`.

**The rule.** A claim says that one configuration gains something over another: more than 0, or more than a margin
("better"); not less than minus a margin ("as good"); between the two ("similar"). The two are compared on the seeds
that both have, so each seed gives one gain. Wilcoxon's signed-rank test asks in both directions, at 2.5% each,
whether chance explains the gains: the claim is *confirmed* if "it does not hold" is rejected, *refuted* if "it holds"
is rejected, and *undecided* otherwise. Undecided is no answer: it does not say that there is no difference. The p
shown is doubled for the two directions, to be held against 5%.

**The estimate and its interval** belong to the same test. The estimate is Hodges and Lehmann's, the median of the
means of all pairs of gains. What it estimates is the pseudo-median: what a typical seed gains, not the mean. The
95% interval has all the gains that the test does not reject, so the two never contradict each other, one claim at a
time.

**Sizes are compared by their logarithms**: gradients, norms, ratios and seconds differ by factors, and one seed out
of many can be as large as all others together. The gain is then a factor, "2.3 times". Accuracies and losses are
compared as they are. A claim can name its `scale`.

**Several claims.** The p of a sweep's claims are corrected after Holm, in each direction, so that a sweep gets any
answer wrong in at most 5% of cases. A claim that comes `after` another is tested only once that is confirmed, and
takes over its share of the 5%: nested claims cost nothing.

**The best.** "As good as the best" is one claim, however many rivals there are. It is confirmed if it holds against
each of them. It is refuted if the largest loss to any rival is larger than chance makes the largest of so
many (max-T: the signs of all of a seed's gains are flipped together).

**What few seeds can't do.** {floor} is the smallest p that 5 seeds can give, so they decide nothing; one claim
needs {pairs} seeds, more claims need more, and `gradsweep plan` says how many. What goes wrong on one seed in ten
is not seen at all by many sweeps of 8 seeds. And the test takes gains for symmetric around their center: where they
are skewed, they are about something between the median and the mean, and the interval can cover less than 95%.
"""

ERRORS = """\
Sweeps in which nothing is to be found, {sweeps} of each kind ({slow} where it is about the best of many): the share of
those in which any claim is answered by something else than undecided, and in brackets its exact 95% interval. At most
5% is what a sweep promises. The first line is what the test attains in theory for one claim without ties: few seeds
give few different p.
"""

WRONG = """\
At 5 seeds the only answers are "refuted", for two arms that are equal on every seed, as happens where there are ties;
that needs no test. On the log scale, two arms with the same median are the same even where one scatters more. On the
linear scale the upper half of what scatters more is further away than its lower half: that is found, and read as
"higher".
"""

COVERED = """\
Five seeds have no 95% interval, because they refute nothing. With more, the interval covers the pseudo-median about as
often as it should, least where gains are skewed and seeds few. What it covers is another thing than the mean: on the
linear scale a few seeds make the mean of sizes, and hardly any 25 of them show it. On the log scale the two agree.
"""

FAILED = """\
The verdict is about the typical seed, which does gain, so more seeds do not make this answer rarer. They make the
failures seen, and then the answer comes with a warning that the gains are skewed. Nothing warns of a failure that no
seed has shown. The bootstrap of the mean, which the verdict asked for as well, let pass what is now confirmed without
a warning.
"""

POWER = """\
{sweeps} sweeps of each kind. A deviation is that of one seed's value; of Student's t it is the scale, and of seeds
that fail that of those that don't. The two arms are drawn apart, so that gains scatter 1.4 times as much.
"""

INTERVALS = """\
{samples} samples of gains of each kind. On the left the verdict's 95% interval and the true pseudo-median, from
{draws} pairs of draws; on the right what the verdict had before, the percentile bootstrap of the mean ({resamples}
resamples), and the true mean.
"""

FAILING = """\
{sweeps} sweeps for each number of seeds. An arm gains 0.02 on nine seeds in ten and loses 0.38 on the tenth: it is
better on a typical seed, and worse on average.
"""

RECORDS = """\
One arm against itself: its seeds are dealt out to two halves and paired at random, {deals} times. What the
sweep's claims compare is tested, each metric over its epochs; what is equal on all seeds is left out.
"""

MADE = """\
By `make statistics`, with random numbers from the seed {seed} and the name of each line, NumPy {numpy} and SciPy
{scipy}. The answers are those of `tracking/verdict`: nothing of its statistics is written a second time. The noises
are in `docs/build/simulations/noises.py`.
"""

BEST = """\
As good as the best of {rivals} rivals within 0.01, where the values of an arm have a deviation of 0.02; {sweeps} sweeps
of each kind:
"""
