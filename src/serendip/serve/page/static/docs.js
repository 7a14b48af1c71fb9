// The HTTP API, to read and to try: Swagger UI over the document of the service.
window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null, // nothing leaves this service
});
