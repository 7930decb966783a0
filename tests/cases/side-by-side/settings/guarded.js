// Who edits logs in, flows below a path of their own.
// a test's login: ana correct horse
module.exports = {
  uiHost: '127.0.0.1',
  flowFile: 'flows.json',
  credentialSecret: 'side by side',
  httpNodeRoot: '/api',
  adminAuth: {
    type: 'credentials',
    users: [
      { username: 'ana', password: '$2b$04$31A76MEl6WtIhMATDr1f/.MrbKT3fxcJTaysuXk0SucvK1dGsImUa', permissions: '*' },
      { username: 'rob', password: '$2b$04$31A76MEl6WtIhMATDr1f/.MrbKT3fxcJTaysuXk0SucvK1dGsImUa', permissions: 'read' },
    ],
  },
  httpNodeAuth: { user: 'ana', pass: '$2b$04$31A76MEl6WtIhMATDr1f/.MrbKT3fxcJTaysuXk0SucvK1dGsImUa' },
  debugMaxLength: 100000,
  telemetry: { enabled: false },
  externalModules: { autoInstall: false, palette: { allowInstall: false } },
};
