// Draws what was measured: bars, whiskers and dots as SVG, and tables. No framework.

const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 34;

/** The value that a share of the samples is below. */
export function percentile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const low = Math.floor(place), high = Math.ceil(place);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

export const median = (samples) => percentile(samples, 0.5);
export const quartiles = (samples) => [percentile(samples, 0.25), percentile(samples, 0.75)];
export const milliseconds = (value) => `${value.toPrecision(3)} ms`;

/** One row a model: its name and size, its median, and a bar. */
export function drawChart(place, models) {
  const longest = 1.12 * Math.max(...models.map(({samples}) => (
      Math.max(median(samples), quartiles(samples)[1]))));
  place.replaceChildren(...models.map((model) => {
    const row = element('div', 'row');
    const label = element('div', 'label');
    const name = element('span', '', `${model.name} `);
    name.append(element('small', '', size(model.bytes)));
    label.append(name, element('span', '', milliseconds(median(model.samples))));
    row.append(label, bar(model.samples, longest));
    return row;
  }));
}

/** Pairs of a name and a value, with a class for the value. */
export function showFacts(list, facts) {
  list.replaceChildren(...facts.flatMap(([name, value, kind]) => (
      [element('dt', '', name), element('dd', kind ?? '', value)])));
}

/** A table of text. */
export function showTable(table, header, rows) {
  const line = (tag, cells) => {
    const row = element('tr');
    row.append(...cells.map((cell) => element(tag, '', cell)));
    return row;
  };
  table.replaceChildren(line('th', header), ...rows.map((cells) => line('td', cells)));
}

/** "Chrome 150 on Linux x86_64" instead of half a line of history. */
export function browserName(agent) {
  const [, system = 'an unknown system'] = agent.match(/\(([^)]*)\)/) ?? [];
  const kinds = [/(Edg|OPR|SamsungBrowser|Firefox|FxiOS|CriOS|Chrome)\w*\/(\d+)/, /(Safari)\/(\d+)/];
  const [, name, version] = kinds.map((kind) => agent.match(kind)).find(Boolean) ?? [, agent, ''];
  return `${name} ${version} on ${system.replace(/^X11; /, '')}`;
}

function bar(samples, longest) {
  const svg = shape('svg', {role: 'img', 'aria-label': milliseconds(median(samples))});
  const x = (value) => `${Math.min(100, 100 * value / longest)}%`;
  const [low, high] = quartiles(samples);
  svg.append(
      shape('rect', {class: 'track', width: '100%', height: HEIGHT}),
      shape('rect', {class: 'bar', width: x(median(samples)), height: HEIGHT}),
      ...samples.filter((value) => value < longest).slice(-200).map((value, i) => shape('circle', {
        class: 'dot', cx: x(value), cy: 7 + (i * 0.618034 % 1) * (HEIGHT - 14), r: 2,
      })),
      shape('line', {class: 'whisker', x1: x(low), x2: x(high), y1: HEIGHT / 2, y2: HEIGHT / 2}));
  return svg;
}

function size(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}

function element(tag, kind = '', content = '') {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.textContent = content;
  return made;
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
