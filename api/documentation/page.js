// Starts Swagger UI on the page /docs. It is a file because the page's policy refuses scripts in the page itself.
"use strict";

const place = document.getElementById("operations");
const linked = window.location.hash.slice(1); // read first: Swagger UI rewrites it

// Links to an operation once had the form /docs#createTransaction. Swagger UI's own are /docs#/transactions/createTransaction.
function followOldLink() {
  const paths = Object.values(ui.specSelectors.specJson().toJS().paths);
  const operation = paths.flatMap((methods) => Object.values(methods)).find((found) => found.operationId === linked);
  if (operation) {
    window.location.replace(`#/${operation.tags[0]}/${linked}`);
    ui.layoutActions.parseDeepLinkHash(window.location.hash);
  }
}

const ui = SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  defaultModelsExpandDepth: 0, // the schemas, each closed
  displayRequestDuration: true,
  filter: true,
  onComplete: followOldLink,
  persistAuthorization: false, // a key is kept in the page's memory only, and gone after a reload
  queryConfigEnabled: false, // an address cannot make the page show another document
  requestSnippetsEnabled: false,
  validatorUrl: null, // the document is sent to nobody
});
