// Where pages are read without a server, a browser starts no worker, and the search is one: it runs in a frame of the page instead.
if (location.protocol === "file:")
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inside = this.frame.contentWindow
      inside.postMessage = data => this.later(data, copy => this.onmessage?.(copy))
      this.ready = new Promise((resolve, reject) => {
        const script = inside.document.createElement("script")
        Object.assign(script, { src: url, onload: resolve, onerror: reject })
        inside.document.body.append(script)
      })
      this.ready.catch(error => this.onerror?.(error))
    }

    postMessage(data) {
      this.ready.then(() => this.later(data, copy => this.frame.contentWindow?.onmessage(copy)))
    }

    later(data, deliver) { // as a worker has it: a copy, and not at once
      const copy = structuredClone(data)
      setTimeout(() => deliver({ data: copy }))
    }

    terminate() {
      this.frame.remove()
    }
  }
