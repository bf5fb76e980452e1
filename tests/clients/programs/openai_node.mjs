// openai for JavaScript.
import OpenAI from "openai";

const [url, step] = process.argv.slice(2);
const tool = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string" } } },
    parse: JSON.parse,
    function: () => "7 degrees",
  },
};

const steps = {
  async stream(client) {
    const pieces = [];
    const stream = client.chat.completions.stream({
      model: "m1",
      messages: [{ role: "user", content: "Hi" }],
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta.content;
      if (piece) pieces.push(piece);
    }
    return { pieces, usage: (await stream.totalUsage()).completion_tokens };
  },

  async tools(client) {
    let called;
    const runner = client.chat.completions
      .runTools({
        model: "m1",
        stream: true,
        messages: [{ role: "user", content: "What is the weather in Köln?" }],
        tools: [tool],
      })
      .on("functionToolCall", (call) => (called = call));
    const text = await runner.finalContent();
    return { tool: called.name, arguments: JSON.parse(called.arguments), text };
  },

  async error(client) {
    try {
      const stream = await client.chat.completions.create({
        model: "m1",
        messages: [{ role: "user", content: "Hi" }],
        stream: true,
      });
      for await (const chunk of stream);
    } catch (error) {
      const { message, status, code, param } = error;
      return { error: error.constructor.name, message, status, code, param };
    }
    return {};
  },

  async embed(client) {
    const input = ["a cat", "a dog"];
    const { data } = await client.embeddings.create({ model: "tokenflow-embedder", input });
    return { sizes: data.map((vector) => vector.embedding.length) };
  },
};

const client = new OpenAI({
  baseURL: url,
  apiKey: "x",
  dangerouslyAllowBrowser: true, // openai_page.mjs runs this in a browser
  maxRetries: step === "error" ? 0 : 2,
});
console.log(JSON.stringify(await steps[step](client)));
