// The pages of R/page.R: a menu of views, forms that are sent as a whole, and questions
// before what cannot be undone. All text of others was escaped in R.
(function () {
  "use strict";

  // Views ---------------------------------------------------------------------

  function views() {
    return Array.from(document.querySelectorAll(".mx-view"));
  }

  // The view of the address stays after a reload. `moved`: a person has chosen it.
  function showView(moved) {
    var all = views();
    var wanted = decodeURIComponent(location.hash.slice(1));
    // A link may lead to something in a view.
    var target = wanted && document.getElementById(wanted);
    var chosen = (target && target.closest(".mx-view")) || all[0];
    if (!chosen) {
      return;
    }
    all.forEach(function (view) {
      view.hidden = view !== chosen;
    });
    document.querySelectorAll(".mx-menu a").forEach(function (link) {
      if (link.hash === "#" + chosen.id) {
        link.setAttribute("aria-current", "page");
      } else {
        link.removeAttribute("aria-current");
      }
    });
    if (moved) {
      document.querySelector(".mx-notice").textContent = "";
      chosen.querySelector("h2").focus();
      window.scrollTo(0, 0);
      findWanted();
    }
    // Shiny fills outputs when they are seen.
    $(chosen).trigger("shown");
  }

  window.addEventListener("hashchange", function () {
    showView(true);
  });

  // R leads to a view, and to a card of it that may be drawn a moment later.
  var wanted = null;

  Shiny.addCustomMessageHandler("mx-view", function (to) {
    wanted = to.card ? { card: to.card, until: Date.now() + 5000 } : null;
    if (location.hash === "#" + to.view) {
      findWanted();
    } else {
      location.hash = to.view;
    }
  });

  function findWanted() {
    if (wanted && (Date.now() > wanted.until || focusCard(wanted.card))) {
      wanted = null;
    }
  }

  function focusCard(key) {
    var title = document.querySelector(
      "[data-card=\"" + CSS.escape(key) + "\"] h3"
    );
    if (title && title.offsetParent) {
      title.focus();
      return true;
    }
    return false;
  }

  // Forms ---------------------------------------------------------------------

  function outcomeOf(form) {
    return form.querySelector(".mx-outcome");
  }

  function fieldsOf(form) {
    var fields = JSON.parse(form.dataset.values || "{}");
    form.querySelectorAll("[data-field]").forEach(function (field) {
      if (field.type === "radio") {
        if (field.checked) {
          fields[field.dataset.field] = field.value;
        }
      } else if (field.type === "checkbox") {
        fields[field.dataset.field] = field.checked;
      } else if (field.type === "file") {
        // R has it, or not yet.
        fields[field.dataset.field] = field.mxNumber || 0;
      } else {
        fields[field.dataset.field] = field.value;
      }
    });
    return fields;
  }

  function setBusy(form, busy) {
    form.setAttribute("aria-busy", busy ? "true" : "false");
    // A button that is disabled would lose the focus.
    form.querySelector(".mx-button").setAttribute("aria-disabled", busy);
  }

  // Secrets do not stay in the page.
  function forgetSecrets(form) {
    form.querySelectorAll("input[type=password]").forEach(function (field) {
      field.value = "";
    });
  }

  function send(form) {
    form.mxNumber = Date.now();
    document.querySelector(".mx-notice").textContent = "";
    setBusy(form, true);
    outcomeOf(form).textContent = form.dataset.busy;
    Shiny.setInputValue(
      form.dataset.input,
      { fields: fieldsOf(form), number: form.mxNumber },
      { priority: "event" }
    );
  }

  function submit(form) {
    if (form.getAttribute("aria-busy") === "true") {
      return;
    }
    if (!form.reportValidity()) {
      return;
    }
    if (form.dataset.confirm) {
      ask(form.dataset.confirm, form.querySelector(".mx-button"), function () {
        send(form);
      });
    } else {
      send(form);
    }
  }

  // A form may have been drawn again meanwhile: it is found by its input. Several forms
  // of one input differ by their number.
  function formOf(outcome) {
    var forms = Array.from(document.querySelectorAll(".mx-form")).filter(
      function (form) {
        return form.dataset.input === outcome.form;
      }
    );
    return (
      forms.find(function (form) {
        return form.mxNumber === outcome.number;
      }) || (forms.length === 1 ? forms[0] : null)
    );
  }

  Shiny.addCustomMessageHandler("mx-outcome", function (outcome) {
    // What was typed stays neither in R nor in Shiny's memory of the page.
    Shiny.setInputValue(outcome.form, null, { priority: "event" });
    var form = formOf(outcome);
    if (!form) {
      document.querySelector(".mx-notice").innerHTML = outcome.html;
      return;
    }
    setBusy(form, false);
    outcomeOf(form).innerHTML = outcome.html;
    if (outcome.ok) {
      forgetSecrets(form);
    }
  });

  // Long work: how far it is.
  Shiny.addCustomMessageHandler("mx-progress", function (progress) {
    var form = formOf(progress);
    if (form) {
      // What is read aloud stays; the bar moves.
      var old = outcomeOf(form).querySelector("progress");
      var bar = document.createRange().createContextualFragment(progress.html);
      if (old) {
        bar = bar.querySelector("progress");
        old.setAttribute("value", bar.getAttribute("value"));
        old.setAttribute("max", bar.getAttribute("max"));
      } else {
        outcomeOf(form).replaceChildren(bar);
      }
    }
  });

  // An output that is drawn again, because something has changed, keeps what was typed in
  // its forms, or in the form that it is in, their outcomes and the focus. The outcome of a
  // form that is gone is shown above the views.
  function keyOf(form) {
    return form.dataset.input + " " + (form.dataset.values || "");
  }

  // A choice is one of several fields of a name.
  function fieldKey(field) {
    var isChoice = field.type === "radio" || field.type === "checkbox";
    return field.dataset.field + (isChoice ? " " + field.value : "");
  }

  function stateOf(form) {
    var fields = Array.from(form.querySelectorAll("[data-field]"));
    return {
      key: keyOf(form),
      number: form.mxNumber,
      busy: form.getAttribute("aria-busy") === "true",
      html: outcomeOf(form).innerHTML,
      typed: new Map(
        fields.map(function (field) {
          return [fieldKey(field), { value: field.value, checked: field.checked }];
        })
      ),
      focus: Array.from(form.elements).indexOf(document.activeElement),
    };
  }

  function restoreField(field, typed) {
    if (field.type === "radio" || field.type === "checkbox") {
      field.checked = typed.checked;
    } else if (field.type !== "hidden" && field.type !== "file") {
      field.value = typed.value;
    }
    if (field.matches("[data-least]")) {
      noteShort(field);
    }
  }

  function restore(state) {
    var form = Array.from(document.querySelectorAll(".mx-form")).find(
      function (form) {
        return keyOf(form) === state.key;
      }
    );
    if (!form) {
      var notice = document.querySelector(".mx-notice");
      if (state.html) {
        notice.innerHTML = state.html;
      }
      return;
    }
    form.mxNumber = state.number;
    setBusy(form, state.busy);
    outcomeOf(form).innerHTML = state.html;
    form.querySelectorAll("[data-field]").forEach(function (field) {
      var typed = state.typed.get(fieldKey(field));
      if (typed) {
        restoreField(field, typed);
      }
    });
    if (form.elements[state.focus]) {
      form.elements[state.focus].focus();
    }
    countPicked(form);
  }

  // Where the focus is: a summary has the id of its details.
  function focusWithin(place) {
    var active = document.activeElement;
    if (!place.contains(active)) {
      return null;
    }
    var details = active.matches("summary") && active.closest("details[id]");
    var card = active.closest("[data-card]");
    return { details: details && details.id, card: card && card.dataset.card };
  }

  function refocus(focus) {
    if (!focus || document.activeElement !== document.body) {
      return;
    }
    var details = focus.details && document.getElementById(focus.details);
    if (details) {
      details.querySelector("summary").focus();
    } else if (focus.card) {
      focusCard(focus.card);
    }
    // What had it is gone, and its outcome may be there.
    if (document.activeElement === document.body) {
      document.querySelector(".mx-notice").focus();
    }
  }

  // What is drawn again as it was would be read aloud again.
  function isDrawn(place, html) {
    var same = typeof html === "string" && place.mxHtml === html;
    place.mxHtml = html;
    return same;
  }

  $(document).on("shiny:error", function (event) {
    delete event.target.mxHtml;
  });

  $(document).on("shiny:value", function (event) {
    var place = event.target;
    if (isDrawn(place, event.value && event.value.html)) {
      event.preventDefault();
      return;
    }
    var around = place.closest(".mx-form");
    var forms = Array.from(place.querySelectorAll(".mx-form"));
    var states = forms.concat(around || []).map(stateOf);
    var open = Array.from(place.querySelectorAll("details[id][open]"));
    var focus = focusWithin(place);
    setTimeout(function () {
      open.forEach(function (old) {
        var details = document.getElementById(old.id);
        if (details) {
          details.open = true;
        }
      });
      place.querySelectorAll("time[datetime]").forEach(showTime);
      states.forEach(restore);
      refocus(focus);
      findWanted();
    }, 0);
  });

  // In the clock of the reader.
  function showTime(time) {
    var at = new Date(time.dateTime);
    if (!isNaN(at)) {
      time.textContent = at.toLocaleString([], {
        dateStyle: "medium",
        timeStyle: "short",
      });
    }
  }

  // The button of a form says how many are picked.
  function countPicked(form) {
    var button = form.querySelector(".mx-button[data-many]");
    if (button) {
      var n = form.querySelectorAll(".mx-pick input:checked").length;
      var many = button.dataset.many.replace("%d", n);
      button.textContent =
        n === 0 ? button.dataset.none : n === 1 ? button.dataset.one : many;
    }
  }

  document.addEventListener("change", function (event) {
    if (event.target.closest(".mx-form")) {
      countPicked(event.target.form);
    }
  });

  document.addEventListener("submit", function (event) {
    if (event.target.matches(".mx-form")) {
      event.preventDefault();
    }
  });

  document.addEventListener("click", function (event) {
    var button = event.target.closest(".mx-form .mx-button");
    if (button) {
      submit(button.form);
    }
  });

  document.addEventListener("keydown", function (event) {
    if (
      event.key === "Enter" &&
      !event.isComposing &&
      event.target.matches(".mx-form input:not([type=file])")
    ) {
      event.preventDefault();
      submit(event.target.form);
    }
  });

  // A passphrase that is short is said to be, while it is typed.
  function noteShort(field) {
    var note = field.parentElement.querySelector(".mx-short");
    var length = Array.from(field.value).length;
    if (note) {
      note.hidden = length === 0 || length >= Number(field.dataset.least);
    }
  }

  document.addEventListener("input", function (event) {
    if (event.target.matches("[data-least]")) {
      noteShort(event.target);
    }
  });

  // Files go to R in pieces, the next one when R has the last.
  var PIECE = 384 * 1024;

  function progressOf(field) {
    return document.getElementById(field.dataset.pieces + "_progress");
  }

  function sendPiece(field, at) {
    var file = field.mxFile;
    var number = field.mxNumber;
    var reader = new FileReader();
    reader.onload = function () {
      if (field.mxNumber !== number) {
        return;
      }
      Shiny.setInputValue(
        field.dataset.pieces + "_piece",
        {
          number: number,
          size: file.size,
          at: at,
          data: reader.result.slice(reader.result.indexOf(",") + 1),
        },
        { priority: "event" }
      );
    };
    reader.onerror = function () {
      progressOf(field).textContent = "The browser could not read this file.";
    };
    reader.readAsDataURL(file.slice(at, at + PIECE));
  }

  document.addEventListener("change", function (event) {
    var field = event.target;
    if (field.matches("[data-pieces]")) {
      field.mxFile = field.files[0];
      field.mxNumber = field.mxFile ? Date.now() : 0;
      progressOf(field).textContent = "";
      if (field.mxFile) {
        sendPiece(field, 0);
      }
    }
  });

  Shiny.addCustomMessageHandler("mx-piece", function (piece) {
    var field = document.querySelector(
      "[data-pieces=\"" + CSS.escape(piece.id) + "\"]"
    );
    if (!field || field.mxNumber !== piece.number) {
      return;
    }
    var size = field.mxFile.size;
    var told = progressOf(field);
    if (piece.done < 0) {
      told.textContent = "This file is too large.";
    } else if (piece.done < size) {
      told.textContent = Math.floor((100 * piece.done) / size) + " % is here.";
      sendPiece(field, piece.done);
    } else {
      told.textContent = "Upload complete";
      Shiny.setInputValue(piece.id + "_piece", null, { priority: "event" });
    }
  });

  // Secrets that are shown ------------------------------------------------------

  function copy(text) {
    if (navigator.clipboard) {
      return navigator.clipboard.writeText(text);
    }
    // Without HTTPS there is none, but on this machine.
    return Promise.reject(new Error("no clipboard"));
  }

  function select(element) {
    var range = document.createRange();
    range.selectNodeContents(element);
    window.getSelection().removeAllRanges();
    window.getSelection().addRange(range);
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy], [data-save]");
    if (!button) {
      return;
    }
    var source = document.getElementById(button.dataset.copy || button.dataset.save);
    var told = button.closest(".mx-secret").querySelector(".mx-copied");
    if (button.dataset.copy) {
      copy(source.textContent).then(
        function () {
          told.textContent = "Copied. Empty the clipboard when it is saved.";
        },
        function () {
          select(source);
          told.textContent = "It is selected: copy it with the keyboard.";
        }
      );
    } else {
      var link = document.createElement("a");
      link.href = URL.createObjectURL(
        new Blob([source.textContent + "\n"], { type: "text/plain" })
      );
      link.download = button.dataset.file;
      link.click();
      setTimeout(function () {
        URL.revokeObjectURL(link.href);
      }, 10000);
      told.textContent = "Saved as " + button.dataset.file + ".";
    }
  });

  // Questions -----------------------------------------------------------------

  // The browser keeps the focus inside of a modal dialog, and Esc closes it.
  function ask(question, button, agreed) {
    var dialog = document.createElement("dialog");
    var text = document.createElement("p");
    var row = document.createElement("div");
    dialog.className = "mx-dialog";
    text.id = "mx-question";
    text.textContent = question;
    dialog.setAttribute("aria-labelledby", text.id);
    row.className = "mx-row";
    function add(label, style, action) {
      var choice = document.createElement("button");
      choice.type = "button";
      choice.className = style;
      choice.textContent = label;
      choice.addEventListener("click", function () {
        dialog.close();
        action();
      });
      row.append(choice);
      return choice;
    }
    var cancel = add("Cancel", "mx-plain", function () {});
    add(button.textContent, button.className, agreed);
    dialog.append(text, row);
    dialog.addEventListener("close", function () {
      dialog.remove();
      button.focus();
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  }

  // The connection ------------------------------------------------------------

  $(document).on("shiny:connected", function () {
    showView(false);
  });

  $(document).on("shiny:disconnected", function () {
    document.querySelectorAll(".mx-form[aria-busy=true]").forEach(function (form) {
      setBusy(form, false);
      outcomeOf(form).textContent =
        "R was left before it said how this ended. Load the page again.";
    });
  });
})();
