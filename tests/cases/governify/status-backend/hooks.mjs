// Puts stubs in the place of status-backend's databases; everything else is its own source.
const stub = new URL('./stubs.mjs', import.meta.url).href;
const databases = /models\/models\.js$|scopeSet\.model\.js$|^sequelize$|control\.controller\.js$/;
export async function resolve(specifier, context, next) {
  if (databases.test(specifier)) return { url: stub, shortCircuit: true };
  return next(specifier, context);
}
