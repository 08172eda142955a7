// Shows what R/shiny-message.R made. All text of others is escaped or cleaned there.
(function () {
  "use strict";

  // The messages are replaced one by one, and not all at once: a screen reader reads
  // aloud what is new in a log.
  function element(html) {
    var template = document.createElement("template");
    template.innerHTML = html;
    var message = template.content.firstElementChild;
    var time = message.querySelector("time");
    var date = time && new Date(time.getAttribute("datetime"));
    if (date && !isNaN(date)) {
      time.textContent = date.toLocaleString([], {
        dateStyle: "short",
        timeStyle: "short",
      });
    }
    // A spoiler is read where the pointer or the focus is.
    message.querySelectorAll("[data-mx-spoiler]").forEach(function (spoiler) {
      spoiler.tabIndex = 0;
    });
    return message;
  }

  // What scrolls must be reached by the keyboard: a long message, or a wide table.
  var sizes = new ResizeObserver(function (entries) {
    entries.forEach(function (entry) {
      var body = entry.target;
      if (
        body.scrollHeight > body.clientHeight ||
        body.scrollWidth > body.clientWidth
      ) {
        body.setAttribute("tabindex", "0");
        body.setAttribute("role", "group");
        body.setAttribute("aria-label", "A long message");
      } else {
        body.removeAttribute("tabindex");
        body.removeAttribute("role");
        body.removeAttribute("aria-label");
      }
    });
  });

  // Where only the head is new, as when the sender's name is known, the body stays: it may
  // have the focus, or be scrolled.
  function shownMessage(html, old) {
    var body = html.slice(html.indexOf('<div class="mx-body"'));
    var node = element(html);
    if (old && old.body === body) {
      old.node.className = node.className;
      old.node.firstChild.replaceWith(node.firstChild);
      return { html: html, body: body, node: old.node };
    }
    sizes.observe(node.lastChild);
    return { html: html, body: body, node: node };
  }

  function showMessages(log, keys, htmls) {
    var atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    var old = log.mxMessages || new Map();
    var now = new Map();
    keys.forEach(function (key, i) {
      var message = old.get(key);
      if (!message || message.html !== htmls[i]) {
        message = shownMessage(htmls[i], message);
      }
      now.set(key, message);
    });
    old.forEach(function (message, key) {
      if (!now.has(key) || now.get(key).node !== message.node) {
        sizes.unobserve(message.node.lastChild);
        message.node.remove();
      }
    });
    var place = log.firstChild;
    now.forEach(function (message) {
      if (message.node === place) {
        place = place.nextSibling;
      } else {
        log.insertBefore(message.node, place);
      }
    });
    log.mxMessages = now;
    if (atEnd) {
      log.scrollTop = log.scrollHeight;
    }
  }

  function alertOf(form) {
    return form.closest(".mx-room").querySelector(".mx-room-form-alert");
  }

  class LogBinding extends Shiny.OutputBinding {
    find(scope) {
      return $(scope).find(".mx-room-log");
    }
    renderValue(el, value) {
      if (value) {
        showMessages(el, value.keys, value.html);
      }
    }
    renderError() {}
    clearError() {}
    showProgress() {}
  }

  // While a message is under way, the text cannot be changed and is kept; it goes when the
  // message is dealt with.
  function setBusy(form, busy) {
    form.setAttribute("aria-busy", busy ? "true" : "false");
    form.querySelector("textarea").readOnly = busy;
    form.querySelector("button").disabled = busy;
  }

  function send(form) {
    var text = form.querySelector("textarea").value;
    if (form.getAttribute("aria-busy") === "true" || !text.trim()) {
      return;
    }
    form.mxNumber = Date.now();
    setBusy(form, true);
    alertOf(form).textContent = "";
    Shiny.setInputValue(
      form.dataset.input,
      { text: text, number: form.mxNumber },
      { priority: "event" }
    );
  }

  class FormBinding extends Shiny.OutputBinding {
    find(scope) {
      return $(scope).find(".mx-room-form");
    }
    renderValue(form, outcome) {
      if (!outcome || outcome.number !== form.mxNumber) {
        return;
      }
      var area = form.querySelector("textarea");
      if (outcome.done) {
        area.value = "";
      }
      alertOf(form).textContent = outcome.sentence;
      setBusy(form, false);
      area.focus();
    }
    renderError(form, error) {
      alertOf(form).textContent = error.message;
      setBusy(form, false);
    }
    clearError() {}
    showProgress() {}
  }

  Shiny.outputBindings.register(new LogBinding(), "mxcrypt.log");
  Shiny.outputBindings.register(new FormBinding(), "mxcrypt.form");

  document.addEventListener("submit", function (event) {
    if (event.target.matches(".mx-room-form")) {
      event.preventDefault();
    }
  });

  document.addEventListener("click", function (event) {
    if (event.target.matches(".mx-room-form button")) {
      send(event.target.form);
    }
  });

  // Enter that ends the composition of a character, as in Japanese, sends nothing.
  document.addEventListener("keydown", function (event) {
    if (
      event.key === "Enter" &&
      !event.shiftKey &&
      !event.isComposing &&
      event.target.matches(".mx-room-form textarea")
    ) {
      event.preventDefault();
      send(event.target.closest("form"));
    }
  });

  // A connection that is lost takes the outcome with it.
  $(document).on("shiny:disconnected", function () {
    document.querySelectorAll(".mx-room-form").forEach(function (form) {
      if (form.getAttribute("aria-busy") === "true") {
        setBusy(form, false);
        alertOf(form).textContent =
          "The app was left before it said whether the message was sent.";
      }
    });
  });
})();
