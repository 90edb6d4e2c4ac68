"""The report's page: its frame, its look, and the script that has the plots drawn.

The script is part of the page's security policy: only it and Plotly's may run.
"""

from __future__ import annotations

from string import Template

__all__ = ["PAGE", "SCRIPT", "STYLE"]

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<main>
$summary
<h2>Plots</h2>
<noscript><p>The plots need JavaScript.</p></noscript>
<div class="plots">
$plots
</div>
<h2>All trials</h2>
$table
</main>
<script type="application/json" id="plot-data">$data</script>
$scripts</body>
</html>
""")

STYLE = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --text: #1d2430; --soft: #5b6575;
  --line: #dfe3e9; --link: #1457b8; --good: #157347; --bad: #b3261e; --busy: #1457b8;
  --warn: #8a5a00; --best: #e9f5ee; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12161c; --card: #1b212a; --text: #e4e8ee; --soft: #a0aab8; --line: #343d4a;
    --link: #82b1ff; --good: #66d19e; --bad: #ff8a80; --busy: #82b1ff; --warn: #ffc266;
    --best: #183528; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 28px 24px 48px; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
h1 { font-size: 28px; margin: 0; }
h2 { font-size: 18px; margin: 28px 0 12px; }
h3 { font-size: 16px; margin: 0 0 6px; }
a { color: var(--link); }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin-bottom: 18px; }
.facts { flex-basis: 100%; margin: 0; color: var(--soft); overflow-wrap: anywhere; }
.badge { padding: 2px 12px; border: 1px solid; border-radius: 999px; font-weight: 600; }
.badge.good, .complete { color: var(--good); } .badge.bad, .fail { color: var(--bad); }
.badge.running, .state.running { color: var(--busy); }
.state.pruned { color: var(--warn); } .state.killed { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; min-width: 0; overflow-x: auto; }
.card > h2 { margin: 0 0 10px; }
.card p { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.ending { border-left: 4px solid var(--busy); }
.ending.good { border-left-color: var(--good); } .ending.bad { border-left-color: var(--bad); }
.pair, .plots { display: grid; gap: 16px; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pair { margin-top: 16px; }
.pair:has(#front) { grid-template-columns: minmax(0, 1fr); }
.plots > :nth-child(n+3) { grid-column: 1 / -1; }
@media (max-width: 860px) { .pair, .plots { grid-template-columns: minmax(0, 1fr); }
  main { padding: 18px 12px 32px; } }
#best .value { display: flex; align-items: baseline; gap: 10px; margin-bottom: 10px; }
#best .value b { font-size: 26px; }
#best .value span, dt, .none, .missing p { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 16px; margin: 0; }
dt { max-width: 24em; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(84px, 1fr)); gap: 10px; }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 10px; text-align: center; }
.tile b { display: block; font-size: 24px; line-height: 1.2; }
.state { font-weight: 600; }
/* Optuna chooses its colors for a light ground. */
.drawn { background: #fff; padding: 8px 10px; }
@media (prefers-color-scheme: dark) { .drawn { background: #eef1f5; border-color: #eef1f5; } }
.plot { height: 400px; }
.scroll { padding: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 7px 12px; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-size: 13px; }
tbody tr:last-child > * { border-bottom: 0; }
.num { text-align: right; font-variant-numeric: tabular-nums; }
tr.best { background: var(--best); }
tr.best > th { box-shadow: inset 4px 0 var(--good); }
tr:target { outline: 2px solid var(--link); outline-offset: -2px; }
.star { margin-left: 8px; padding: 0 8px; border: 1px solid; border-radius: 999px;
  color: var(--good); font-size: 12px; }
summary { cursor: pointer; }
details p { max-width: 46ch; white-space: pre-wrap; }
@media print { .card { break-inside: avoid; overflow: visible; } }
"""

SCRIPT = """
(() => {
  const figures = JSON.parse(document.getElementById("plot-data").textContent);
  const settings = {responsive: true, displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
  const draw = async (figure) => {
    const place = document.getElementById(figure.id);
    try {
      await Plotly.newPlot(place, figure.data, figure.layout, settings);
    } catch (error) {
      place.textContent = "This plot could not be drawn: " + error;
    }
  };
  figures.forEach(draw);
})();
"""
