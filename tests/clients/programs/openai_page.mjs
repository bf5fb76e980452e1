// The program openai_node.mjs in a page of http://localhost:3000, as a browser lets it.
import { createServer } from "node:http";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const { CHROMIUM, PROGRAMS } = process.env;
const bundle = await build({
  entryPoints: [`${PROGRAMS}/openai_node.mjs`],
  nodePaths: [`${process.cwd()}/node_modules`],
  define: { "process.argv": JSON.stringify(process.argv) },
  bundle: true,
  format: "esm",
  platform: "browser",
  charset: "utf8",
  write: false,
});
const script = bundle.outputFiles[0].text.replaceAll("</script", "<\\/script");
const server = createServer((request, response) => {
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.end(`<!doctype html><script type="module">${script}</script>`);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    "--no-sandbox",
    "--no-proxy-server",
    // The page's origin is the frontend's, wherever its server listens.
    `--host-resolver-rules=MAP localhost:3000 127.0.0.1:${server.address().port}`,
  ],
});
const tab = await browser.newPage();
tab.on("pageerror", (error) => console.error(error));
tab.on("console", (message) => message.type() === "error" && console.error(message.text()));
const report = tab.waitForEvent("console", (message) => message.type() === "log");
await tab.goto("http://localhost:3000");
console.log((await report).text());
await browser.close();
server.close();
