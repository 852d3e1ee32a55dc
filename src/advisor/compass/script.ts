/** What happens on the page: filters dim what does not fit, a click shows the facts. Runs in a browser, by itself. */
export const compassScript: string = String.raw`
const data = JSON.parse(document.getElementById('data').textContent);
const marks = [...document.querySelectorAll('.mark')];
const panel = document.querySelector('aside');
const form = document.querySelector('form');
const ladders = data.ladders;
const make = (name, text, kind) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};
const value = (name) => form.elements[name].value;
const atLeast = (ladder, offered, wanted) =>
  offered === null || ladders[ladder].indexOf(offered) >= ladders[ladder].indexOf(wanted);
function fits(one) {
  const words = value('words').trim().toLowerCase();
  if (words && !one.names.some((name) => name.includes(words))) return false;
  const model = value('model');
  if (model && !one.models.includes(model)) return false;
  const guarantee = value('guarantee');
  if (guarantee && one.guarantees !== null && !one.guarantees.includes(guarantee)) return false;
  for (const ladder of ['durability', 'transactions', 'reach']) {
    const wanted = value(ladder);
    if (wanted && !atLeast(ladder, one[ladder], wanted)) return false;
  }
  const run = value('run');
  return !run || one.run.includes(run);
}
function filter() {
  let count = 0;
  for (const mark of marks) {
    const fit = fits(data.marks[mark.dataset.at]);
    mark.classList.toggle('out', !fit);
    count += fit ? 1 : 0;
  }
  document.getElementById('count').textContent =
    count + ' of ' + marks.length + ' configurations fit; what is not known does not exclude';
}
function list(title, facts) {
  const found = [make('h3', title)];
  const dl = make('dl');
  for (const fact of facts) {
    dl.append(make('dt', fact.name));
    const dd = make('dd');
    dd.append(make('span', fact.value, fact.confidence === 'low' ? 'low' : ''));
    if (fact.url) {
      const from = make('span', undefined, 'from');
      const link = make('a', fact.title);
      link.href = fact.url;
      link.rel = 'noreferrer';
      from.append(link, ', ' + fact.date);
      dd.append(from);
    }
    dl.append(dd);
  }
  found.push(dl);
  return found;
}
function show(at) {
  const one = data.marks[at];
  for (const mark of marks) mark.classList.toggle('on', mark.dataset.at === String(at));
  const children = [make('h2', one.title), make('div', one.about, 'from')];
  const badges = make('div', undefined, one.cap);
  badges.append(make('span', one.cap, 'badge'), make('span', one.pacelc, 'badge'));
  children.push(badges, ...list('This configuration', one.facts), ...list('The system', one.systemFacts));
  if (one.reports.length > 0) children.push(make('h3', 'What tests found'));
  for (const report of one.reports) {
    const box = make('div', report.versions + ': ' + report.found + '. Mended: ' + report.fixed + '.', 'report');
    const from = make('span', undefined, 'from');
    const link = make('a', report.title);
    link.href = report.url;
    link.rel = 'noreferrer';
    from.append(link);
    box.append(from);
    children.push(box);
  }
  const others = data.marks.map((other, index) => [other, index]).filter(([other, index]) => other.system === one.system && index !== at);
  if (others.length > 0) {
    children.push(make('h3', 'Set up otherwise'));
    const box = make('div', undefined, 'others');
    for (const [other, index] of others) {
      const button = make('button', other.cap + ' · ' + other.configuration);
      button.type = 'button';
      button.addEventListener('click', () => show(index));
      box.append(button);
    }
    children.push(box);
  }
  panel.replaceChildren(...children);
}
for (const mark of marks) {
  mark.addEventListener('click', () => show(Number(mark.dataset.at)));
  mark.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      show(Number(mark.dataset.at));
    }
  });
}
form.addEventListener('input', filter);
form.addEventListener('submit', (event) => event.preventDefault());
filter();
show(0);
`;
