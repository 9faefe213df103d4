import { listen } from "@shm-polyglot/protocol";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";

import { type Order, OrderPage } from "./page.js";

const pages = { order: (order: Order): string => renderToStaticMarkup(createElement(OrderPage, order)) };

await listen({ expose: { pages } });
