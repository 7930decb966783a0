// What Probity adds to Node-RED's editor: problems of the flows as they stand in the workspace, shown on their nodes
// before anything is deployed; and a sidebar tab with the last runs, their steps, replay and recording as a test.
(function () {
  'use strict';

  const API = 'probity/v1/';
  // A change is looked at when the user pauses.
  const CHECK_AFTER_MS = 500;
  // The list of runs while it is shown.
  const LOOK_EVERY_MS = 2000;
  const RUNS_MAX = 30;

  function ask(method, path, body) {
    const call = { url: API + path, method, dataType: 'json' };
    if (body !== undefined) {
      call.contentType = 'application/json';
      call.data = JSON.stringify(body);
    }
    return $.ajax(call);
  }

  // What an answer that is none says.
  function why(answer) {
    const problem = answer.responseJSON;
    if (problem && problem.message) {
      return problem.hint ? problem.message + ' (' + problem.hint + ')' : problem.message;
    }
    return answer.status ? 'the server answered ' + answer.status : 'the server does not answer';
  }

  // ---- Problems -------------------------------------------------------------------------------------------------

  // Node id -> its problems; '' for those of no node.
  let problems = new Map();
  let checks = 0;
  let pending = null;

  function text(problem) {
    return [problem.message, problem.expected && 'expected: ' + problem.expected, problem.hint].filter(Boolean).join('\n');
  }

  function worst(list) {
    return list.some((problem) => problem.severity === 'error') ? 'error' : 'warning';
  }

  // The nodes whose badge is older than what is known of them.
  const stale = new Set();

  // One annotation for both kinds: of several that are registered after a node is drawn, the editor gives it only the
  // last one.
  function mark() {
    RED.view.annotations.register('probity-problem', {
      type: 'badge',
      class: 'probity-problem',
      element: function (node) {
        const list = problems.get(node.id);
        const wrong = !list || worst(list) === 'error';
        const group = document.createElementNS('http://www.w3.org/2000/svg', 'g');
        group.setAttribute('class', wrong ? 'probity-error' : 'probity-hint');
        group.innerHTML = '<rect width="12" height="12" rx="6" ry="6"></rect><text x="6" y="9.5">' + (wrong ? '!' : '?') + '</text>';
        return group;
      },
      refresh: function (node) {
        return stale.delete(node.id);
      },
      show: function (node) {
        return problems.has(node.id);
      },
      tooltip: function (node) {
        return (problems.get(node.id) || []).map(text).join('\n\n');
      },
    });
  }

  function show(found) {
    const before = problems;
    problems = new Map();
    for (const problem of found) {
      const id = problem.node || '';
      problems.set(id, (problems.get(id) || []).concat(problem));
    }
    for (const id of new Set([...before.keys(), ...problems.keys()])) {
      const node = id && RED.nodes.node(id);
      if (node) {
        stale.add(id);
        node.dirty = true;
      }
    }
    RED.view.redraw();
    panel.problems();
  }

  function check() {
    pending = null;
    const number = (checks += 1);
    // Passwords are nobody's business here: they have no form that could be wrong.
    const flows = RED.nodes.createCompleteNodeSet({ credentials: false });
    ask('POST', 'flows/check', { flows })
      .done((answer) => {
        if (number === checks) {
          show(answer.problems);
        }
      })
      .fail((answer) => {
        // Who may not ask sees no problems; all else is told once it matters.
        if (number === checks && answer.status !== 401 && answer.status !== 403) {
          console.warn('the flows were not checked: ' + why(answer));
        }
      });
  }

  function changed() {
    clearTimeout(pending);
    pending = setTimeout(check, CHECK_AFTER_MS);
  }

  // ---- Runs -----------------------------------------------------------------------------------------------------

  const panel = (function () {
    let content, list, status, opened = null, timer = null;
    // How often the list was asked for, and which of the answers is shown.
    let looks = 0, seen = 0;
    let everywhere = false;

    function make() {
      content = $('<div class="probity-runs"></div>');
      const wrong = $('<div></div>').appendTo(content);
      content.wrong = wrong;
      status = $('<div></div>').appendTo(content);
      list = $('<ul></ul>').appendTo(content);
      const toolbar = $('<div></div>');
      const all = $('<label style="display:inline-flex;gap:4px;margin:0 8px 0 0"><input type="checkbox" style="margin:0"> all flows</label>').appendTo(toolbar);
      all.find('input').on('change', function () {
        everywhere = this.checked;
        look();
      });
      const trace = $('<button type="button" class="red-ui-sidebar-header-button"><i class="fa fa-eye"></i> trace next</button>').appendTo(toolbar);
      RED.popover.tooltip(trace, 'Keep the messages of the next runs of this flow');
      trace.on('click', traceNext);
      RED.sidebar.addTab({
        id: 'probity-runs',
        label: 'runs',
        name: 'Runs',
        iconClass: 'fa fa-history',
        content,
        toolbar,
        enableOnEdit: true,
        pinned: true,
        onchange: watch,
      });
      RED.actions.add('probity:show-runs', () => RED.sidebar.show('probity-runs'));
      RED.events.on('workspace:change', () => {
        expand(null);
        look();
      });
      watch();
    }

    function watch() {
      clearInterval(timer);
      timer = setInterval(look, LOOK_EVERY_MS);
      look();
    }

    // The tab that is looked at; inside a subflow, runs of all flows.
    function subject() {
      const id = RED.workspaces.active();
      return everywhere || !id || RED.nodes.subflow(id) ? null : id;
    }

    function look() {
      if (!content.is(':visible') || document.hidden) {
        return;
      }
      const of = subject();
      const query = 'runs?limit=' + RUNS_MAX + (of ? '&subject=' + encodeURIComponent(of) : '');
      const number = (looks += 1);
      ask('GET', query)
        .done((page) => {
          // Answers may overtake each other: an older list is of no use.
          if (number > seen && of === subject()) {
            seen = number;
            draw(page.items);
          }
        })
        .fail((answer) => {
          list.empty().append($('<li class="probity-wrong"></li>').text('The runs cannot be shown: ' + why(answer)));
        });
    }

    function row(state, what, howLong) {
      const button = $('<button type="button" class="probity-row"></button>');
      $('<span class="probity-state"></span>').addClass('probity-' + state).attr('title', state).appendTo(button);
      $('<span class="probity-what"></span>').text(what).attr('title', what).appendTo(button);
      $('<span class="probity-how-long"></span>').text(howLong).appendTo(button);
      return button;
    }

    function started(run) {
      const trigger = run.trigger || {};
      const node = trigger.node && RED.nodes.node(trigger.node);
      const label = node ? RED.utils.getNodeLabel(node, trigger.node) : trigger.node;
      switch (trigger.kind) {
        case 'http': return trigger.method + ' ' + trigger.path;
        case 'inject': return label || 'inject';
        case 'event': return label || 'event';
        case 'cron': return 'schedule ' + trigger.schedule;
        case 'manual': return 'by ' + trigger.by;
        case 'metric': return 'asked by an evaluation';
        case 'linked': return 'goes on from an earlier run';
        default: return trigger.kind || 'run';
      }
    }

    function milliseconds(us) {
      return us === undefined || us === null ? '' : us < 1000 ? us + ' µs' : (us / 1000).toFixed(us < 100000 ? 1 : 0) + ' ms';
    }

    function lasted(run) {
      return run.ended_at ? (new Date(run.ended_at) - new Date(run.started_at)) + ' ms' : 'running';
    }

    // Only what is new or has changed is drawn: what the user has unfolded stays so, and nothing moves under the mouse.
    function draw(runs) {
      const before = new Map();
      list.children('li[data-run]').each(function () {
        before.set(this.dataset.run, $(this));
      });
      list.children().not('[data-run]').remove();
      $('<h4></h4>').text('Last runs').prependTo(list);
      if (runs.length === 0) {
        $('<li class="probity-none">Nothing has run here yet.</li>').appendTo(list);
      }
      let above = list.children('h4');
      for (const run of runs) {
        const item = before.get(run.id) || $('<li></li>').attr('data-run', run.id);
        before.delete(run.id);
        if (!above.next().is(item)) {
          item.insertAfter(above);
        }
        above = item;
        const now = JSON.stringify([run.state, run.hops, run.ended_at]);
        if (item.data('drawn') !== now) {
          item.data('drawn', now);
          head(item, run);
          if (opened === run.id) {
            open(item, run.id);
          }
        }
      }
      before.forEach((item) => item.remove());
    }

    function head(item, run) {
      const at = new Date(run.started_at).toLocaleTimeString();
      item.children('.probity-row').remove();
      row(run.state, at + '  ' + started(run), lasted(run))
        .attr('aria-expanded', String(opened === run.id))
        .on('click', () => expand(opened === run.id ? null : run.id))
        .prependTo(item);
    }

    // Opens a run, or with `null` none: one is open at a time. One that is not listed yet opens when it is.
    function expand(id) {
      opened = id;
      list.find('.probity-open').remove();
      list.children('li[data-run]').each(function () {
        const item = $(this), opens = this.dataset.run === id;
        item.children('.probity-row').attr('aria-expanded', String(opens));
        if (opens) {
          open(item, id);
        }
      });
    }

    function open(item, id) {
      ask('GET', 'runs/' + id)
        .done((run) => {
          if (opened === id) {
            const unfolded = item.find('.probity-messages').get().filter((messages) => messages.style.display !== 'none').map((messages) => messages.dataset.at);
            item.find('.probity-open').remove();
            steps(run, unfolded).appendTo(item);
          }
        })
        .fail((answer) => {
          if (opened === id) {
            item.find('.probity-open').remove();
            item.append($('<div class="probity-open probity-wrong"></div>').text(why(answer)));
            // The next look asks again.
            item.removeData('drawn');
          }
        });
    }

    // A run's steps; those whose places are `unfolded` with their messages.
    function steps(run, unfolded) {
      const box = $('<div class="probity-open"></div>');
      if (run.error) {
        $('<div class="probity-wrong"></div>').text(run.error.message).appendTo(box);
      }
      const kept = run.trace.some((step) => step.input);
      const does = $('<div class="probity-does"></div>').appendTo(box);
      if (kept) {
        $('<button type="button" class="red-ui-button red-ui-button-small probity-record">Record as test</button>')
          .on('click', () => record(run))
          .appendTo(does);
      } else {
        does.text('Its messages were not kept; “trace next” keeps those of the next runs.').addClass('probity-none');
      }
      run.trace.forEach((step, at) => {
        const name = step.name || step.node_type;
        const failed = step.note === 'failed';
        const time = step.took_us === undefined ? '+' + milliseconds(step.at_us) : '+' + milliseconds(step.at_us) + ', took ' + milliseconds(step.took_us);
        const line = row(failed ? 'failed' : 'done', name, time).addClass('probity-step').appendTo(box);
        line.attr('data-node', step.node);
        const messages = $('<div class="probity-messages"></div>').attr('data-at', at).hide().appendTo(box);
        const unfold = () => {
          if (messages.is(':empty')) {
            fill(messages, run, step);
          }
          messages.toggle();
        };
        line.on('click', () => {
          RED.view.reveal(known(step.node));
          unfold();
        });
        if (unfolded.includes(String(at))) {
          unfold();
        }
      });
      if (run.trace_dropped > 0) {
        $('<div class="probity-none"></div>').text(run.trace_dropped + ' more steps were not kept.').appendTo(box);
      }
      return box;
    }

    // A node in a subflow is drawn once, in the subflow.
    function known(id) {
      for (let at = id; at; at = at.slice(at.indexOf('-') + 1)) {
        if (RED.nodes.node(at) || !at.includes('-')) {
          return at;
        }
      }
      return id;
    }

    function message(into, title, captured) {
      const line = $('<div></div>').appendTo(into);
      const more = [captured.cut && 'cut', captured.masked && 'secrets masked'].filter(Boolean).join(', ');
      $('<b></b>').text(title + (more ? ' (' + more + ')' : '')).appendTo(line);
      RED.utils.createObjectElement(captured.msg, { key: null, typeHint: 'Object', hideKey: true, path: 'msg', rootPath: 'msg' }).appendTo(line);
    }

    function fill(into, run, step) {
      if (step.input) {
        message(into, 'in', step.input);
      }
      (step.sent || []).forEach((sent) => message(into, 'out ' + (sent.port + 1), sent));
      (step.evidence || []).forEach((fact) => {
        $('<div></div>').text('evidence ' + fact.key + ': ' + JSON.stringify(fact.value)).appendTo(into);
      });
      if (!step.input && !(step.sent || []).length) {
        $('<div class="probity-none">Its messages were not kept.</div>').appendTo(into);
      }
      if (step.input) {
        $('<button type="button" class="red-ui-button red-ui-button-small probity-replay">Replay from here</button>')
          .on('click', () => replay(run, step))
          .appendTo(into);
      }
    }

    function replay(run, step) {
      if (step.input.cut) {
        return RED.notify('This message was too long to be kept whole; trace.message_bytes_max says how long they may be', 'warning');
      }
      ask('POST', 'runs', { node: step.node, msg: step.input.msg, of: run.id })
        .done((answer) => {
          if (step.input.masked) {
            RED.notify('Replayed as run ' + answer.run + '. Secrets were not kept: the nodes were given •••', 'warning');
          } else {
            RED.notify('Replayed as run ' + answer.run, 'success');
          }
          expand(answer.run);
          look();
        })
        .fail((answer) => RED.notify('It was not replayed: ' + why(answer), 'error'));
    }

    function record(run) {
      ask('GET', 'runs/' + run.id + '/test')
        .done((answer) => {
          const area = $('<textarea readonly class="probity-test" style="width:100%;height:300px;font-family:monospace"></textarea>').val(answer.yaml);
          const told = RED.notify($('<div></div>').append($('<p></p>').text(answer.note)).append(area), {
            modal: true,
            fixed: true,
            width: 700,
            buttons: [
              { text: 'Close', click: () => told.close() },
              { text: 'Copy', click: () => RED.clipboard.copyText(answer.yaml) },
              { text: 'Save', class: 'primary', click: () => save(answer.file, answer.yaml) },
            ],
          });
        })
        .fail((answer) => RED.notify('It was not recorded: ' + why(answer), 'error'));
    }

    // As a download: where it goes is the user's business.
    function save(name, text) {
      const address = URL.createObjectURL(new Blob([text], { type: 'application/yaml' }));
      const link = $('<a></a>').attr({ href: address, download: name }).appendTo('body');
      link[0].click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    }

    function traceNext() {
      const of = subject();
      if (!of) {
        return RED.notify('Open the flow whose runs are to be traced', 'warning');
      }
      ask('POST', 'flows/' + encodeURIComponent(of) + '/trace', { runs: 10 })
        .done((answer) => RED.notify('The messages of the next ' + answer.runs + ' runs of this flow are kept', 'success'))
        .fail((answer) => RED.notify('They will not be kept: ' + why(answer), 'error'));
    }

    // The problems stand above the runs.
    function listed() {
      if (!content) {
        return;
      }
      const into = content.wrong.empty();
      const all = [...problems.entries()].flatMap(([id, found]) => found.map((problem) => [id, problem]));
      if (all.length === 0) {
        return;
      }
      $('<h4></h4>').text(all.length === 1 ? '1 problem' : all.length + ' problems').appendTo(into);
      for (const [id, problem] of all) {
        const node = id && RED.nodes.node(id);
        const line = row(problem.severity, problem.message, node ? RED.utils.getNodeLabel(node, id) : '').appendTo(into);
        line.addClass('probity-problem-row').attr('title', text(problem));
        if (node) {
          line.on('click', () => RED.view.reveal(id));
        }
      }
    }

    return { make, problems: listed };
  })();

  // ---------------------------------------------------------------------------------------------------------------

  function begin() {
    RED.events.off('flows:loaded', begin);
    mark();
    panel.make();
    const changes = ['nodes:add', 'nodes:remove', 'nodes:change', 'links:add', 'links:remove', 'groups:change', 'subflows:change', 'flows:change', 'workspace:dirty', 'registry:node-types-changed', 'deploy'];
    for (const change of changes) {
      RED.events.on(change, changed);
    }
    changed();
  }

  RED.events.on('flows:loaded', begin);
})();
