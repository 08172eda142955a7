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
    return message;
  }

  function showMessages(log, keys, htmls) {
    var atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    var old = log.mxMessages || new Map();
    var now = new Map();
    keys.forEach(function (key, i) {
      var message = old.get(key);
      if (!message || message.html !== htmls[i]) {
        message = { html: htmls[i], node: element(htmls[i]) };
      }
      now.set(key, message);
    });
    old.forEach(function (message, key) {
      if (now.get(key) !== message) {
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
