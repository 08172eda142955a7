// Scans QR codes for R/page-scan.R: the greys of the camera's frames, or of a picture from a
// file, go to R, which finds the code in them. One camera at a time; the next frame is
// taken when R has looked at the last one.
(function () {
  "use strict";

  // Codes are found well at these sides, in pixels.
  var FRAME = 800;
  var PICTURE = 1400;
  var PAUSE = 150;

  var camera = null;

  function scanOf(number) {
    return document.querySelector(
      '.mx-scan[data-number="' + CSS.escape(String(number)) + '"]'
    );
  }

  function tell(scan, text) {
    if (scan) {
      scan.querySelector(".mx-outcome").textContent = text;
    }
  }

  // Rows of bytes, as base64.
  function greysOf(source, width, height, most) {
    var scale = Math.min(1, most / Math.max(width, height));
    var canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    var context = canvas.getContext("2d", { willReadFrequently: true });
    // What is transparent is light.
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
    var pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    var text = [];
    var row = new Uint8Array(canvas.width);
    for (var y = 0; y < canvas.height; y++) {
      for (var x = 0; x < canvas.width; x++) {
        var i = 4 * (y * canvas.width + x);
        row[x] = (299 * pixels[i] + 587 * pixels[i + 1] + 114 * pixels[i + 2]) / 1000;
      }
      text.push(String.fromCharCode.apply(null, row));
    }
    return { width: canvas.width, height: canvas.height, grey: btoa(text.join("")) };
  }

  function send(number, greys, frame) {
    greys.number = Number(number);
    greys.frame = frame;
    Shiny.setInputValue("verify_picture", greys, { priority: "event" });
  }

  // The camera ----------------------------------------------------------------

  function stop() {
    if (!camera) {
      return;
    }
    camera.stream.getTracks().forEach(function (track) {
      track.stop();
    });
    camera.video.remove();
    clearTimeout(camera.timer);
    var scan = scanOf(camera.number);
    camera = null;
    if (scan) {
      scan.querySelector(".mx-use-camera").textContent = "Use the camera";
    }
  }

  // The card may have been drawn again, or be gone; the view may have been left.
  function isPlaced() {
    var scan = scanOf(camera.number);
    if (!scan || !scan.offsetParent) {
      stop();
      return false;
    }
    var place = scan.querySelector(".mx-camera");
    if (!place.contains(camera.video)) {
      place.append(camera.video);
      camera.video.play();
      scan.querySelector(".mx-use-camera").textContent = "Stop the camera";
    }
    return true;
  }

  function look() {
    if (!camera || !isPlaced()) {
      return;
    }
    var video = camera.video;
    var isReady = video.readyState >= 2 && video.videoWidth > 0;
    if (isReady && !camera.waits) {
      camera.waits = true;
      send(
        camera.number,
        greysOf(video, video.videoWidth, video.videoHeight, FRAME),
        true
      );
    }
    camera.timer = setTimeout(look, PAUSE);
  }

  function start(scan) {
    var devices = navigator.mediaDevices;
    if (!devices || !devices.getUserMedia) {
      tell(scan, "This browser gives pages no camera. Choose a picture instead.");
      return;
    }
    var number = scan.dataset.number;
    tell(scan, "");
    devices
      .getUserMedia({ audio: false, video: { facingMode: "environment" } })
      .then(function (stream) {
        stop();
        var video = document.createElement("video");
        video.muted = true;
        video.playsInline = true;
        video.srcObject = stream;
        // Its picture says nothing to those who do not see it.
        video.setAttribute("aria-hidden", "true");
        camera = { number: number, stream: stream, video: video, waits: false };
        tell(scanOf(number), "The camera looks for the code.");
        look();
      })
      .catch(function (error) {
        tell(
          scanOf(number),
          error.name === "NotAllowedError"
            ? "The camera was not allowed. Allow it in the browser, or choose a picture."
            : "There is no camera that can be used. Choose a picture instead."
        );
      });
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest(".mx-use-camera");
    if (!button) {
      return;
    }
    var scan = button.closest(".mx-scan");
    if (camera && camera.number === scan.dataset.number) {
      stop();
      tell(scan, "The camera is off.");
    } else {
      start(scan);
    }
  });

  // Who leaves the view and comes back at once has left it, too.
  window.addEventListener("hashchange", function () {
    if (camera) {
      isPlaced();
    }
  });

  // Pictures ------------------------------------------------------------------

  document.addEventListener("change", function (event) {
    if (!event.target.matches(".mx-picture") || !event.target.files[0]) {
      return;
    }
    var scan = event.target.closest(".mx-scan");
    var number = scan.dataset.number;
    tell(scan, "Looking for the code\u2026");
    createImageBitmap(event.target.files[0]).then(
      function (picture) {
        send(number, greysOf(picture, picture.width, picture.height, PICTURE), false);
        picture.close();
      },
      function () {
        tell(scanOf(number), "This file is no picture that the browser can read.");
      }
    );
    // The same file may be chosen again.
    event.target.value = "";
  });

  // What R found --------------------------------------------------------------

  Shiny.addCustomMessageHandler("mx-scanned", function (found) {
    if (camera) {
      camera.waits = false;
    }
    if (!found.again) {
      stop();
    }
    var scan = scanOf(found.number);
    if (found.html) {
      var place = scan
        ? scan.querySelector(".mx-outcome")
        : document.querySelector(".mx-notice");
      place.innerHTML = found.html;
    }
  });

  $(document).on("shiny:disconnected", stop);
})();
