// The editor below a path of its own, with a login.
// a test's login: ana correct horse
module.exports = {
  uiHost: '127.0.0.1',
  flowFile: 'flows.json',
  credentialSecret: 'side by side',
  httpAdminRoot: '/red/admin',
  httpNodeRoot: '/',
  adminAuth: {
    type: 'credentials',
    users: [
      { username: 'ana', password: '$2b$04$31A76MEl6WtIhMATDr1f/.MrbKT3fxcJTaysuXk0SucvK1dGsImUa', permissions: '*' },
      { username: 'rob', password: '$2b$04$31A76MEl6WtIhMATDr1f/.MrbKT3fxcJTaysuXk0SucvK1dGsImUa', permissions: 'read' },
    ],
  },
  debugMaxLength: 100000,
  telemetry: { enabled: false },
  externalModules: { autoInstall: false, palette: { allowInstall: false } },
};
