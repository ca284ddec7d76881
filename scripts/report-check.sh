#!/usr/bin/env bash
# report-check.sh PAGE.html [FOLDER]: opens a page of `toller report` in a headless Chromium and says what is wrong with it: a
# console message, a request, a script, an overflow, a picture that does not show, text with too little contrast. At three
# widths, light and dark. With FOLDER, a picture of each goes there, and the page as it is printed.
#
# It speaks to Chromium over a pipe and needs nothing but Python's own library. Without Chromium it says so and ends with 0.
set -euo pipefail

[ $# -ge 1 ] || {
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
}
page=$(realpath -- "$1")
folder=${2:+$(realpath -m -- "$2")}
for name in chromium chromium-browser google-chrome; do
    chromium=$(command -v "$name") && break
done
if [ -z "${chromium:-}" ]; then
    echo "skipped: no chromium to look at the report with" >&2
    exit 0
fi
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

timeout 300 python3 - "$chromium" "$profile" "$page" "$folder" <<'EOF'
import base64, json, os, pathlib, re, subprocess, sys

chromium, profile, page, folder = sys.argv[1:]
ours_out, its_in = os.pipe()  # it reads what we write
its_out, ours_in = os.pipe()


def hand_over():
    # Chromium takes its orders from 3 and answers on 4.
    taken, given = os.dup(ours_out), os.dup(ours_in)
    os.dup2(taken, 3)
    os.dup2(given, 4)


options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
options += ["--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
browser = subprocess.Popen(
    [chromium, *options, "about:blank"], preexec_fn=hand_over, close_fds=False, stderr=subprocess.DEVNULL
)
os.close(ours_out)
os.close(ours_in)
rest, events, number = b"", [], 0


def hear():
    global rest
    while b"\0" not in rest:
        more = os.read(its_out, 1 << 20)
        if not more:
            sys.exit("report-check.sh: chromium went away")
        rest += more
    message, rest = rest.split(b"\0", 1)
    return json.loads(message)


def ask(method, session=None, **params):
    global number
    number += 1
    order = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
    os.write(its_in, json.dumps(order).encode() + b"\0")
    while True:
        message = hear()
        if message.get("id") == number:
            if "error" in message:
                sys.exit(f"report-check.sh: {method}: {message['error']}")
            return message["result"]
        events.append(message)


def wait_for(method):
    while not any(event.get("method") == method for event in events):
        events.append(hear())


LOOK = r"""(async () => {
  const wrong = [];
  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
    wrong.push(`${document.documentElement.scrollWidth} wide in ${innerWidth}: ` + wide.slice(0, 3).map(e => e.outerHTML.slice(0, 90)));
  }
  for (const e of document.querySelectorAll('script, iframe, object, embed, form, base, foreignObject')) wrong.push(`<${e.localName}>`);
  for (const e of document.querySelectorAll('*')) for (const a of e.attributes) {
    if (/^on/i.test(a.name)) wrong.push(`${e.localName} ${a.name}`);
    if (['href', 'src', 'xlink:href'].includes(a.name) && !/^(#|data:)/.test(a.value)) wrong.push(`${a.name}=${a.value.slice(0, 80)}`);
  }
  for (const i of document.images) {
    i.loading = 'eager';
    try { await i.decode(); } catch { wrong.push(`no picture: ${i.alt}`); }
    if (!i.alt) wrong.push('a picture without words');
  }
  const light = c => { const [r, g, b] = c.match(/[\d.]+/g).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let low = new Set; words.nextNode();) {
    const e = words.currentNode.parentElement, s = getComputedStyle(e);
    if (!words.currentNode.data.trim() || e.closest('style')) continue;
    const ink = light(e.namespaceURI.includes('svg') ? s.fill : s.color);
    const ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
    if (ratio < 4.5 && !low.has(e.className)) { low.add(e.className); wrong.push(`contrast ${ratio.toFixed(1)}: ${words.currentNode.data.slice(0, 60)}`); }
  }
  return JSON.stringify({ wrong, height: Math.ceil(document.documentElement.getBoundingClientRect().height) });
})()"""

target = ask("Target.createTarget", url="about:blank")["targetId"]
session = ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
for domain in ["Page", "Runtime", "Log", "Network"]:
    ask(f"{domain}.enable", session)
address, failed = pathlib.Path(page).as_uri(), False
for width in [360, 800, 1400]:
    for theme in ["light", "dark"]:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        ask("Emulation.setDeviceMetricsOverride", session, **size)
        ask("Emulation.setEmulatedMedia", session, features=[{"name": "prefers-color-scheme", "value": theme}])
        events.clear()
        ask("Page.navigate", session, url=address)
        wait_for("Page.loadEventFired")
        looked = ask("Runtime.evaluate", session, expression=LOOK, awaitPromise=True, returnByValue=True)
        looked = json.loads(looked["result"]["value"])
        wrong = looked["wrong"]
        for event in events:
            method, params = event.get("method", ""), event.get("params", {})
            if method == "Runtime.consoleAPICalled":
                wrong.append(f"console: {params['args']}")
            elif method == "Log.entryAdded":
                wrong.append(f"console: {params['entry']['text']}")
            elif method == "Runtime.exceptionThrown":
                wrong.append(f"exception: {params['exceptionDetails']['text']}")
            elif method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if url != address and not url.startswith("data:"):
                    wrong.append(f"request: {url}")
        print(f"{width} {theme}: {looked['height']} high, {len(wrong)} wrong")
        failed |= bool(wrong)
        for words in wrong:
            print(f"  {words}")
        if folder:
            os.makedirs(folder, exist_ok=True)
            clip = {"x": 0, "y": 0, "width": width, "height": min(looked["height"], 12000), "scale": 1}
            shot = ask("Page.captureScreenshot", session, clip=clip, captureBeyondViewport=True)["data"]
            with open(f"{folder}/{width}-{theme}.png", "wb") as file:
                file.write(base64.b64decode(shot))
printed = base64.b64decode(ask("Page.printToPDF", session, printBackground=False, preferCSSPageSize=True)["data"])
print(f"printed: {len(re.findall(rb'/Type */Page[^s]', printed))} pages")
if folder:
    with open(f"{folder}/printed.pdf", "wb") as file:
        file.write(printed)
ask("Browser.close")
browser.wait(30)
sys.exit(failed)
EOF
