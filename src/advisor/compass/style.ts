/** The looks of the page; light and dark as the reader’s machine is. */
export const compassStyle = `
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--paper:#f7f5f0;--card:#ffffff;--line:#d9d4c7;
--cp:#2f6f8f;--ap:#b3632b;--ca:#6b7a3a;--accent:#8a2f4f}
@media(prefers-color-scheme:dark){:root{--ink:#e8e4da;--soft:#a3a99f;--paper:#15191d;--card:#1e2429;--line:#363d43;
--cp:#6fb3d2;--ap:#e39a63;--ca:#b3c46d;--accent:#e08ba8}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 ui-sans-serif,system-ui,"Segoe UI",sans-serif}
header{padding:28px 36px 12px;max-width:1500px;margin:auto}
h1{font:600 30px/1.2 ui-serif,Georgia,serif;margin:0 0 6px}
header p{margin:0;color:var(--soft);max-width:78ch}
form{display:flex;flex-wrap:wrap;gap:10px 16px;padding:14px 36px;max-width:1500px;margin:auto;align-items:end}
label{display:grid;gap:3px;font-size:12px;color:var(--soft)}
select,input{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:7px;padding:6px 9px;min-width:128px}
select:focus,input:focus,.mark:focus{outline:2px solid var(--accent);outline-offset:2px}
#count{margin-left:auto;font-size:13px;color:var(--soft)}
main{display:grid;grid-template-columns:minmax(0,1fr) 400px;gap:24px;padding:8px 36px 48px;max-width:1500px;margin:auto;align-items:start}
svg{width:100%;height:auto;display:block}
.disc{fill:var(--card);stroke:var(--line);stroke-width:2}
.spoke{stroke:var(--line);stroke-width:2}
.CP-area{fill:var(--cp);opacity:.07}.AP-area{fill:var(--ap);opacity:.08}.CA-area{fill:var(--ca);opacity:.1}
.title{font:700 30px ui-serif,Georgia,serif}
.under{font-size:14px;fill:var(--soft)}
.CP{--own:var(--cp)}.AP{--own:var(--ap)}.CA{--own:var(--ca)}
text.CP,text.AP,text.CA{fill:var(--own)}
.mark{cursor:pointer}
.mark rect{fill:var(--card);stroke:var(--own);stroke-width:1.1}
.mark circle{fill:var(--own)}
.mark text{font-size:11.5px;fill:var(--ink)}
.mark .small{font-size:9.5px;fill:var(--soft)}
.mark:hover rect,.mark.on rect{fill:var(--own)}
.mark:hover text,.mark.on text,.mark:hover .small,.mark.on .small{fill:var(--paper)}
.mark:hover circle,.mark.on circle{fill:var(--paper)}
.mark.out{opacity:.13}
aside{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:20px 22px;position:sticky;top:18px;max-height:calc(100vh - 36px);overflow:auto}
aside h2{font:600 22px/1.2 ui-serif,Georgia,serif;margin:0}
aside h3{font-size:12px;letter-spacing:.06em;text-transform:uppercase;color:var(--soft);margin:18px 0 6px}
.badge{display:inline-block;border-radius:99px;padding:1px 10px;font-size:12px;font-weight:600;background:var(--own);color:var(--paper);margin:8px 6px 0 0}
dl{display:grid;grid-template-columns:112px 1fr;gap:5px 12px;margin:0;font-size:13.5px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.from{display:block;font-size:11.5px;color:var(--soft)}
.from a{color:inherit}
.low::after{content:" not looked up";font-size:11px;color:var(--accent)}
.report{border-left:3px solid var(--accent);padding:2px 0 2px 11px;margin:8px 0;font-size:13.5px}
.others button{font:inherit;font-size:12.5px;border:1px solid var(--line);background:none;color:var(--ink);border-radius:99px;padding:2px 10px;margin:0 6px 6px 0;cursor:pointer}
@media(max-width:1050px){main{grid-template-columns:1fr}aside{position:static;max-height:none}}
`;
