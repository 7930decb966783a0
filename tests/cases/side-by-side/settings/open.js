// Nobody logs in.
module.exports = {
  uiHost: '127.0.0.1',
  flowFile: 'flows.json',
  credentialSecret: 'side by side',
  contextStorage: { default: { module: 'memory' }, disk: { module: 'localfilesystem' } },
  debugMaxLength: 100000,
  telemetry: { enabled: false },
  externalModules: { autoInstall: false, palette: { allowInstall: false } },
  diagnostics: { enabled: true, ui: true },
  runtimeState: { enabled: true, ui: true },
};
