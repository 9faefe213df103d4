import { listen } from "@shm-polyglot/protocol";
import express from "express";

import * as pricing from "./pricing.js";

await listen({ expose: { pricing } });

// Express goes on serving its own routes.
const app = express();
app.get("/total/:name", (request, response) => {
  response.json(pricing.total([{ name: request.params.name, count: 1 }]));
});
app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1");
