"""How a build report looks: one column, light or dark as the reader's system, readable on paper."""

from __future__ import annotations

STYLE = """
:root{--paper:#fbfaf8;--card:#fff;--ink:#1f2328;--faint:#667079;--line:#e2e0da;--accent:#2f6f8f;
--k0:#41709f;--k1:#50795a;--k2:#ad6233;--k3:#7d6b30;--k4:#7d6596;--k5:#63717e;--k6:#a35563;--on:#fff;--seam:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#15181c;--card:#1c2026;--ink:#e4e7ea;--faint:#98a2ac;--line:#2e343b;
--accent:#7cc0de;--k0:#3f6691;--k1:#557d5a;--k2:#a2653c;--k3:#7a6a35;--k4:#776089;--k5:#5d6874;--k6:#945362;
--on:#f5f7f9;--seam:#1c2026}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Cantarell,"DejaVu Sans",sans-serif}
main{max-width:1128px;margin:0 auto;padding:40px 24px 64px}
header p{margin:0;color:var(--faint)}
.eyebrow{text-transform:uppercase;letter-spacing:.12em;font-size:12px}
h1{font-size:34px;line-height:1.2;margin:4px 0 6px;letter-spacing:-.01em}
h1 span{font-weight:400;color:var(--faint);white-space:nowrap}
h2{font-size:20px;margin:0 0 12px}
h3{font-size:15px;margin:0 0 8px;color:var(--faint);font-weight:600}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px 22px;margin-top:18px}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:26px 0 0}
.numbers div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 16px}
.numbers dt{color:var(--faint);font-size:13px}
.numbers dd{margin:2px 0 0;font-size:20px;font-weight:600;overflow-wrap:anywhere}
.warnings{border-left:5px solid #d29922}
.warnings ul{margin:0;padding-left:20px}
.strip{display:flex;height:22px;border-radius:6px;overflow:hidden;gap:1px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:6px 22px;padding:0;margin:14px 0 0}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:7px}
svg{width:100%;height:auto;display:block;border-radius:8px}
svg text{font-size:11px;fill:var(--on);pointer-events:none}
svg .s{opacity:.85}
svg .h{fill:var(--ink)}
rect{stroke:var(--seam);stroke-width:1}
rect.n{fill-opacity:.3}
g:focus{outline:none}
g:focus rect,g:hover>rect{stroke:var(--ink);stroke-width:2.5}
.k0{background:var(--k0);fill:var(--k0)}.k1{background:var(--k1);fill:var(--k1)}.k2{background:var(--k2);fill:var(--k2)}
.k3{background:var(--k3);fill:var(--k3)}.k4{background:var(--k4);fill:var(--k4)}.k5{background:var(--k5);fill:var(--k5)}
.k6{background:var(--k6);fill:var(--k6)}
details{margin-top:10px}
summary{cursor:pointer;color:var(--accent)}
table{border-collapse:collapse;width:100%;margin-top:8px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--faint);font-size:13px}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tr:last-child td,tr:last-child th{border-bottom:0}
td:nth-child(2){white-space:nowrap}
.bar{width:65%;padding-right:0;vertical-align:middle}
.bar i{display:block;height:12px;border-radius:4px;background:var(--accent);min-width:2px}
.facts th{width:190px}.facts td:nth-child(2){white-space:normal}
.chips{list-style:none;display:flex;flex-wrap:wrap;gap:7px;padding:0;margin:0 0 14px}
.chips li{border:1px solid var(--line);border-radius:999px;padding:1px 11px}
code,pre{font:13px/1.5 ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
pre{white-space:pre-wrap;margin:8px 0 0}
@media print{body{background:#fff}section{break-inside:avoid}}
"""
