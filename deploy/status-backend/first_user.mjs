// Runs inside status-backend's container, on its own modules and database: makes the operator's user, an administrator,
// with the name and password that the container's environment has (USER_STATUS, PASS_STATUS), and locks the users that
// STATUS's example data brings along with passwords everybody knows. Prints what it changed, never a password.
import { randomBytes } from 'node:crypto';
import bcrypt from 'bcrypt';
import { models } from './src/models/models.js';
import { sequelize } from './src/db/database.js';

const shipped = { admin: 'admin123', developer: 'dev123', user: 'user123' };
const { USER_STATUS: username, PASS_STATUS: password } = process.env;
if (!username || !password) throw new Error('USER_STATUS and PASS_STATUS must be set');

const hash = (text) => bcrypt.hash(text, 12);
const [own, made] = await models.User.findOrCreate({
  where: { username },
  defaults: { username, password: await hash(password), authority: 'ADMIN', email: `${username}@status.example` },
});
if (made) {
  console.log(`user ${username}: made`);
} else if (!(await bcrypt.compare(password, own.password))) {
  await own.update({ password: await hash(password), authority: 'ADMIN' });
  console.log(`user ${username}: has the password of the environment now`);
}
for (const [name, known] of Object.entries(shipped)) {
  const other = name === username ? null : await models.User.findOne({ where: { username: name } });
  if (other && (await bcrypt.compare(known, other.password))) {
    await other.update({ password: await hash(randomBytes(24).toString('hex')), refresh_token: null });
    console.log(`user ${name}: locked, since everybody knows its password; give it another one to use it`);
  }
}
await sequelize.close();
// The connection to MongoDB that the models may have opened holds the process.
process.exit(0);
